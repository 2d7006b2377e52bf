"""The hosts that subscriptions of users may name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify_service.providers.push_hosts import PushHosts
from servicekit.config import ConfigurationError

HOSTS = PushHosts(["push.example.com", "*.push.example.org", "up.example.net:8443"])


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("https://push.example.com/wp/abc?x=1", "https://push.example.com/wp/abc?x=1"),
        ("https://PUSH.example.com/a", "https://push.example.com/a"),
        ("https://push.example.com:443/a", "https://push.example.com/a"),
        ("https://one.push.example.org/a", "https://one.push.example.org/a"),
        ("https://a.b.push.example.org/a", "https://a.b.push.example.org/a"),
        ("https://up.example.net:8443/a", "https://up.example.net:8443/a"),
    ],
)
def test_allowed_hosts_are_parsed(endpoint: str, expected: str) -> None:
    assert str(HOSTS.parse(endpoint)) == expected


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://push.example.com/",
        "https://example.com/",
        "https://other.push.example.com/",
        "https://push.example.org/",
        "https://evilpush.example.org/",
        "https://push.example.com.evil.test/",
        "https://push.example.com./",
        "https://push.example.com:8443/",
        "https://up.example.net/",
        "https://up.example.net:443/",
        "https://user@push.example.com/",
        "https://push.example.com@evil.test/",
        "https://push.example.com%40evil.test/",
        "https://evil.test#@push.example.com/",
        "https://evil.test\\@push.example.com/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/",
        "https://.push.example.org/",
        "https://127.0.0.1.push.example.org@evil.test/",
        "https:///push.example.com/",
        "https://push.example.com:99999/",
        "//push.example.com/",
        "push.example.com",
        "",
        "https://",
        "https://ex\u0000ample/",
    ],
)
def test_other_endpoints_are_refused(endpoint: str) -> None:
    assert HOSTS.parse(endpoint) is None


@given(text=st.text(max_size=40), prefix=st.sampled_from(["", "https://", "https://push.example.com"]))
def test_any_text_is_an_allowed_address_or_none(text: str, prefix: str) -> None:
    url = HOSTS.parse(prefix + text)
    assert url is None or (url.scheme, url.host) == ("https", "push.example.com")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "*.0.0.1", "[::1]", "::1", "2130706433", "0x7f000001", "127.1", "a.0x1", "*", "*.", "*.*.example.com",
     "https://push.example.com", "push.example.com/", "push..example.com", "", "a b", "host:", "-a.example"],
)  # fmt: skip
def test_hosts_of_another_form_are_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be an allowed host of Web Push"):
        PushHosts([host])


def test_push_services_of_the_browsers_are_allowed_by_default() -> None:
    hosts = PushHosts()
    for host in (
        "fcm.googleapis.com",
        "updates.push.services.mozilla.com",
        "web.push.apple.com",
        "wns2-par02p.notify.windows.com",
    ):
        assert hosts.parse(f"https://{host}/push/abc") is not None

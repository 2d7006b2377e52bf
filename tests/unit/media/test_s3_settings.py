"""The settings of S3, and the addresses that follow from them."""

from __future__ import annotations

import httpx2
import pytest

from media_service.settings import S3Addressing, S3Settings
from media_service.storage.s3 import S3ObjectStore
from media_service.storage.s3_bucket import S3Bucket
from servicekit.clock import SystemClock
from servicekit.config import ConfigurationError


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_S3_URL", "http://127.0.0.1:8333/")
    monkeypatch.setenv("PARLEY_S3_ACCESS_KEY", "parley")
    monkeypatch.setenv("PARLEY_S3_SECRET_KEY", "hidden")


def test_settings_have_defaults_and_hide_the_secret() -> None:
    settings = S3Settings.load()
    assert settings.s3_url == "http://127.0.0.1:8333"
    assert settings.s3_public_url is None
    assert (settings.s3_bucket, settings.s3_region, settings.s3_addressing) == ("media", "us-east-1", "path")
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://s3.example.com:443/", "https://s3.example.com"),
        ("http://s3.example.com:80", "http://s3.example.com"),
        ("https://s3.example.com:80", "https://s3.example.com:80"),
        ("https://S3.example.com", "https://s3.example.com"),
        ("http://[::1]:8333", "http://[::1]:8333"),
    ],
)
def test_address_is_normalized_as_clients_send_it(monkeypatch: pytest.MonkeyPatch, url: str, origin: str) -> None:
    monkeypatch.setenv("PARLEY_S3_URL", url)
    assert S3Settings.load().s3_url == origin


@pytest.mark.parametrize(
    "url",
    ["", "s3.example.com", "ftp://s3", "http://", "http://s3/media", "http://s3?a=b", "http://u:p@s3", "http://s3:x"],
)
def test_wrong_address_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PARLEY_S3_URL", url)
    with pytest.raises(ConfigurationError, match="PARLEY_S3_URL is"):
        S3Settings.load()


@pytest.mark.parametrize("bucket", ["Media", "me", "media/", "a_b", "-media"])
def test_wrong_bucket_is_refused(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    monkeypatch.setenv("PARLEY_S3_BUCKET", bucket)
    with pytest.raises(ConfigurationError, match="PARLEY_S3_BUCKET is wrong"):
        S3Settings.load()


@pytest.mark.parametrize(
    ("addressing", "bucket", "key"),
    [
        ("path", "https://s3.example.com/media", "https://s3.example.com/media/a/b%20c"),
        ("host", "https://media.s3.example.com/", "https://media.s3.example.com/a/b%20c"),
    ],
)
def test_bucket_is_in_the_path_or_in_the_host(addressing: S3Addressing, bucket: str, key: str) -> None:
    addresses = S3Bucket("https://s3.example.com", "media", addressing)
    assert addresses.url().geturl() == bucket
    assert addresses.url("a/b c").geturl() == key
    assert addresses.url("a/b c", {"uploadId": "1/2"}).geturl() == f"{key}?uploadId=1%2F2"


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_file_of_authorities_that_cannot_be_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, content: bytes | None
) -> None:
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("PARLEY_S3_CA_FILE", str(file))
    with pytest.raises(ConfigurationError, match="PARLEY_S3_CA_FILE is wrong"):
        S3ObjectStore(S3Settings.load(), SystemClock())


async def test_store_that_refuses_its_check_is_not_healthy() -> None:
    """A key that was revoked: no request of a user need fail first."""
    store = S3ObjectStore(S3Settings.load(), SystemClock())
    refusal = httpx2.Response(403, content=b"<Error><Code>AccessDenied</Code></Error>")
    store._transport._control = httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: refusal))
    with pytest.raises(ConfigurationError):
        await store.prepare()
    assert not store.health.serving
    await store.close()

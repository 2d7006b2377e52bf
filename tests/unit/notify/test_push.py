"""The bounds of pushes, the secrets of tokens, and the age of tokens that are gone."""

from __future__ import annotations

import pytest

from notify_service.model.push import (
    Accepted,
    ApnsToken,
    FcmToken,
    Notification,
    TokenGone,
    WebPushSubscription,
    Withdrawal,
)
from tests.push_servers.web_push import DeviceKey


@pytest.mark.parametrize("collapse_id", ["", "x" * 65, "é" * 33])
def test_collapse_id_out_of_bounds_is_refused(collapse_id: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Notification(collapse_id, "conversation", 1, "title", "body")
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Withdrawal(collapse_id, "conversation", 1)


@pytest.mark.parametrize("lifetime_s", [-1, 28 * 86_400 + 1])
def test_lifetime_out_of_bounds_is_refused(lifetime_s: int) -> None:
    with pytest.raises(ValueError, match="0 to 2419200 seconds"):
        Notification("id", "conversation", 1, "title", "body", lifetime_s=lifetime_s)


def test_texts_and_tokens_are_not_shown() -> None:
    key = DeviceKey.generate().registered
    shown = repr(
        [
            Notification("id", "conversation", 1, "secret title", "secret body"),
            FcmToken("secret token"),
            ApnsToken("secret token", "topic"),
            WebPushSubscription("https://secret.example", key),
            Accepted("https://secret.example"),
        ]
    )
    assert "secret" not in shown.replace("auth_secret", "")


def test_token_that_was_registered_again_is_not_gone() -> None:
    assert TokenGone("Unregistered").applies_to(5)
    assert TokenGone("Unregistered", since_ms=10).applies_to(10)
    assert not TokenGone("Unregistered", since_ms=10).applies_to(11)

"""The header Retry-After, as seconds and as a date."""

from __future__ import annotations

import pytest

from notify_service.providers.client import MAX_RETRY_AFTER_S, PushAnswer, parse_retry_after

# 15 January 2027, 08:00:00 UTC.
NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("999999", MAX_RETRY_AFTER_S),
        ("9" * 5000, MAX_RETRY_AFTER_S),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Friday, 15-Jan-27 08:00:30 GMT", 30.0),
        ("Fri Jan 15 08:00:30 2027", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2047 07:00:00 GMT", MAX_RETRY_AFTER_S),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
    ],
)
def test_delay_is_read_in_every_form(value: str | None, expected: float | None) -> None:
    assert parse_retry_after(value, NOW_MS) == expected


@pytest.mark.parametrize("body", [b"", b"[]", b"text", b"\xff", b"{", b"[" * 16_384])
def test_body_that_is_no_object_is_an_empty_one(body: bytes) -> None:
    assert PushAnswer(500, {}, body).document() == {}

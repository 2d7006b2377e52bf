"""The recording provider: what it keeps, what it writes, and the outcomes that a test gives it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from notify_service.model.push import Accepted, ApnsToken, FcmToken, Notification, RetryLater, Withdrawal
from notify_service.providers.recording import RecordedPush, RecordingProvider
from servicekit.config import ConfigurationError
from tests.clock import ManualClock
from tests.push_servers.web_push import DeviceKey

MESSAGE = Notification("collapse", "conversation", 7, "Alice", "Hello\nBob", badge=2)
READ = Withdrawal("collapse", "conversation", 7)
TOKEN = FcmToken("device:one")


async def test_last_pushes_are_kept_in_order() -> None:
    clock = ManualClock()
    provider = RecordingProvider(clock, capacity=2)
    for push in (MESSAGE, MESSAGE, READ):
        assert isinstance(await provider.send(TOKEN, push), Accepted)
    assert provider.pushes == (
        RecordedPush(TOKEN, MESSAGE, Accepted("recorded-2"), clock.now_ms()),
        RecordedPush(TOKEN, READ, Accepted("recorded-3"), clock.now_ms()),
    )


async def test_outcomes_are_those_of_the_test() -> None:
    outcome = RetryLater("busy", 3.0)
    provider = RecordingProvider(ManualClock(), respond=lambda token, push: outcome)
    assert await provider.send(TOKEN, MESSAGE) is outcome
    assert provider.pushes[0].outcome is outcome


async def test_each_push_is_a_line_of_the_file(tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "pushes.jsonl"
    path.write_text('{"seq": 1}\n')
    provider = RecordingProvider(clock, path=path)
    await provider.check()
    await provider.send(TOKEN, MESSAGE)
    await provider.send(ApnsToken("ab", "topic", encryption_key=DeviceKey.generate().registered), READ)
    _, first, second = [json.loads(line) for line in path.read_text().splitlines()]
    assert first == {
        "time_ms": clock.now_ms(),
        "provider": "fcm",
        "token": "device:one",
        "kind": "message",
        "conversation_id": "conversation",
        "seq": 7,
        "collapse_id": "collapse",
        "badge": 2,
        "title": "Alice",
        "body": "Hello\nBob",
        "encrypted": False,
        "outcome": "Accepted",
        "reason": "",
    }
    assert (second["provider"], second["kind"], second["encrypted"]) == ("apns", "read", True)
    provider.close()


async def test_log_contains_no_text_and_no_token() -> None:
    provider = RecordingProvider(ManualClock())
    with structlog.testing.capture_logs() as logs:
        await provider.send(TOKEN, MESSAGE)
    [line] = logs
    assert (line["event"], line["provider"], line["seq"]) == ("push recorded", "fcm", 7)
    assert not any(secret in str(line) for secret in ("Alice", "Hello", "device:one"))


def test_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Cannot record pushes in .*/missing/pushes: No such file"):
        RecordingProvider(ManualClock(), path=tmp_path / "missing" / "pushes")

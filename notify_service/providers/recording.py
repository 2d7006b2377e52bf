"""The provider for development: it records pushes instead of sending them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final

import structlog

from notify_service.model.push import (
    Accepted,
    ApnsToken,
    FcmToken,
    Notification,
    Outcome,
    Push,
    PushToken,
    WebPushSubscription,
)
from notify_service.providers.content import body_of, clear_fields, encode_json, title_of
from servicekit.clock import Clock
from servicekit.config import ConfigurationError

DEFAULT_CAPACITY: Final = 1000

Respond = Callable[[PushToken, Push], Outcome]
"""Returns the outcome of a push."""

_log = structlog.get_logger("notify.recording")


@dataclass(frozen=True, slots=True)
class RecordedPush:
    """A push that was sent: its device, its content, its outcome, and the time in milliseconds since 1970."""

    token: PushToken = field(repr=False)
    push: Push
    outcome: Outcome
    time_ms: int


class RecordingProvider:
    """A PushProvider for all kinds of tokens. It keeps the last `capacity` pushes, and logs a line for each.

    `path` is a file to which it appends a JSON line for each push, with its text and its token: it is for development.
    `respond` decides the outcomes; by default every push is accepted. Raise ConfigurationError if the file cannot be
    opened.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        capacity: int = DEFAULT_CAPACITY,
        path: Path | None = None,
        respond: Respond | None = None,
    ) -> None:
        self._clock = clock
        self._pushes: deque[RecordedPush] = deque(maxlen=capacity)
        self._file = None if path is None else _open(path)
        self._respond = respond
        self._count = 0

    @property
    def pushes(self) -> tuple[RecordedPush, ...]:
        """The last pushes, the oldest first."""
        return tuple(self._pushes)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    async def check(self) -> None:
        """Log that pushes are recorded, not sent."""
        _log.info("pushes are recorded, not sent", file=str(self._file.name) if self._file else "")

    async def send(self, token: PushToken, push: Push) -> Outcome:
        """Record a push and return its outcome."""
        self._count += 1
        outcome = Accepted(f"recorded-{self._count}") if self._respond is None else self._respond(token, push)
        recorded = RecordedPush(token, push, outcome, self._clock.now_ms())
        self._pushes.append(recorded)
        if self._file is not None:
            self._file.write(encode_json(_line(recorded)) + b"\n")
        _log.info(
            "push recorded",
            provider=_provider_and_address(token)[0],
            kind=clear_fields(push)["kind"],
            conversation=push.conversation_id,
            seq=push.seq,
            outcome=type(outcome).__name__,
        )
        return outcome


def _open(path: Path) -> FileIO:
    try:
        # Without a buffer each line is one write, so that the lines of several servers stay whole.
        return FileIO(path, "a")
    except OSError as error:
        raise ConfigurationError(f"Cannot record pushes in {path}: {error.strerror}.") from None


def _line(recorded: RecordedPush) -> dict[str, object]:
    """Return the JSON line of a push: the fields of its content, its device, its outcome, its time."""
    push, outcome = recorded.push, recorded.outcome
    provider, address = _provider_and_address(recorded.token)
    texts = {"title": title_of(push), "body": body_of(push)} if isinstance(push, Notification) else {}
    return {
        "time_ms": recorded.time_ms,
        "provider": provider,
        "token": address,
        **clear_fields(push),
        **texts,
        "encrypted": recorded.token.encryption_key is not None,
        "outcome": type(outcome).__name__,
        "reason": "" if isinstance(outcome, Accepted) else outcome.reason,
    }


def _provider_and_address(token: PushToken) -> tuple[str, str]:
    match token:
        case FcmToken():
            return "fcm", token.token
        case ApnsToken():
            return "apns", token.token
        case WebPushSubscription():
            return "web_push", token.endpoint

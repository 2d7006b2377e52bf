"""What a proxy does to the frames it passes down: nothing, or one fault to one live `entries` frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from parley.chat.v1 import chat_pb2


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose stream it is, as its token says: 32 lower-case hex digits each."""

    user_id: str
    device_id: str


class Rule(Protocol):
    """Decides about every frame of every `Connect` stream on its way down."""

    def down(self, caller: Caller, frame: bytes) -> list[bytes]:
        """What is passed on, in order, in place of this frame."""


class FaultKind(Enum):
    """What may be done to a frame."""

    DROP = "drop"
    DOUBLE = "double"
    SWAP = "swap"


def any_caller(_: Caller) -> bool:
    """Any stream."""
    return True


def calls_of_device(device_id: str) -> Callable[[Caller], bool]:
    """The streams of one device."""
    return lambda caller: caller.device_id == device_id


def any_entries(_: chat_pb2.Entries) -> bool:
    """Any entries."""
    return True


def has_message(entries: chat_pb2.Entries) -> bool:
    """Entries with a message among them."""
    return any(entry.HasField("message_appended") for entry in entries.entries)


class FrameFault:
    """Done once: to the `nth` live `entries` frame (from 1) with such `contents`, over all streams of the `victims`.

    A swapped frame is passed behind the next live one of that device that tells of one of its conversations, for
    only then can the swap be seen. `done` tells whether it has happened, `hit` which (conversation, seq) were hit.
    """

    def __init__(
        self,
        kind: FaultKind,
        nth: int = 1,
        victims: Callable[[Caller], bool] = any_caller,
        contents: Callable[[chat_pb2.Entries], bool] = any_entries,
    ) -> None:
        self.hit: list[tuple[str, int]] = []
        self.done = False
        self._kind = kind
        self._left = nth
        self._victims = victims
        self._contents = contents
        self._held: tuple[Caller, bytes] | None = None

    def down(self, caller: Caller, frame: bytes) -> list[bytes]:
        """As the rule says."""
        if self.done or not self._victims(caller) or (told := live_entries(frame)) is None:
            return [frame]
        if self._held is not None:
            return self._swap(caller, frame, _positions(told))
        self._left -= self._contents(told)
        return [frame] if self._left else self._apply(caller, frame, _positions(told))

    def _apply(self, caller: Caller, frame: bytes, told: list[tuple[str, int]]) -> list[bytes]:
        self.hit = told
        if self._kind is FaultKind.SWAP:
            self._held = caller, frame
            return []
        self.done = True
        return [frame, frame] if self._kind is FaultKind.DOUBLE else []

    def _swap(self, caller: Caller, frame: bytes, told: list[tuple[str, int]]) -> list[bytes]:
        assert self._held is not None
        whose, held = self._held
        if whose != caller or not {name for name, _ in told} & {name for name, _ in self.hit}:
            return [frame]
        self.done, self._held = True, None
        return [frame, held]


class Filter:
    """Passes what `passed` makes of each frame; a frame for which it returns None is lost."""

    def __init__(self, passed: Callable[[Caller, chat_pb2.ConnectResponse], chat_pb2.ConnectResponse | None]) -> None:
        self._passed = passed

    def down(self, caller: Caller, frame: bytes) -> list[bytes]:
        """As `passed` decides."""
        kept = self._passed(caller, chat_pb2.ConnectResponse.FromString(frame))
        return [] if kept is None else [kept.SerializeToString()]


class RefusalCounter:
    """Passes everything on, and counts the reasons with which sends were refused."""

    def __init__(self, reason: Callable[[chat_pb2.SendResult], str]) -> None:
        self.refused: Counter[str] = Counter()
        self._reason = reason

    def down(self, caller: Caller, frame: bytes) -> list[bytes]:
        """The frame itself."""
        for result in chat_pb2.ConnectResponse.FromString(frame).send_results.results:
            if result.HasField("refused"):
                self.refused[self._reason(result)] += 1
        return [frame]


def live_entries(frame: bytes) -> chat_pb2.Entries | None:
    """What is in a live `entries` frame; None for any other frame."""
    told = chat_pb2.ConnectResponse.FromString(frame)
    return told.entries if told.HasField("entries") and not told.entries.ranges else None


def _positions(told: chat_pb2.Entries) -> list[tuple[str, int]]:
    return [(entry.conversation_id, entry.seq) for entry in told.entries]

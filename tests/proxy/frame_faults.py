"""Rules of a proxy for the frames from server to client: pass, filter, or one fault in one live `entries` frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from parley.chat.v1 import chat_pb2


@dataclass(frozen=True, slots=True)
class Caller:
    """The user and device of a stream, from its token: 32 lower-case hex digits each."""

    user_id: str
    device_id: str


class Rule(Protocol):
    """A rule applied to every frame of every `Connect` stream from server to client."""

    def down(self, caller: Caller, frame: bytes) -> list[bytes]:
        """Return the frames to pass on, in order, instead of this one."""


class FaultKind(Enum):
    """The kinds of fault that can be applied to a frame."""

    DROP = "drop"
    DOUBLE = "double"
    SWAP = "swap"


def any_caller(_: Caller) -> bool:
    """Return true for every stream."""
    return True


def calls_of_device(device_id: str) -> Callable[[Caller], bool]:
    """Return a predicate that selects the streams of one device."""
    return lambda caller: caller.device_id == device_id


def any_entries(_: chat_pb2.Entries) -> bool:
    """Return true for all entries."""
    return True


def has_message(entries: chat_pb2.Entries) -> bool:
    """Return true if a message is among the entries."""
    return any(entry.HasField("message_appended") for entry in entries.entries)


class FrameFault:
    """One fault, applied to the `nth` (from 1) live `entries` frame that matches `contents`, on streams of `victims`.

    A swapped frame is passed after the device's next live frame with one of the same conversations, because
    only then is the swap visible. `done` is true after the fault; `hit` lists the affected (conversation, seq).
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
        """Return the frames to pass on, with the fault applied."""
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
    """A rule that passes the result of `passed` for each frame; None drops the frame."""

    def __init__(self, passed: Callable[[Caller, chat_pb2.ConnectResponse], chat_pb2.ConnectResponse | None]) -> None:
        self._passed = passed

    def down(self, caller: Caller, frame: bytes) -> list[bytes]:
        """Return the frame that `passed` returns, if any."""
        kept = self._passed(caller, chat_pb2.ConnectResponse.FromString(frame))
        return [] if kept is None else [kept.SerializeToString()]


class RefusalCounter:
    """A rule that passes every frame and counts the reasons of refused sends."""

    def __init__(self, reason: Callable[[chat_pb2.SendResult], str]) -> None:
        self.refused: Counter[str] = Counter()
        self._reason = reason

    def down(self, caller: Caller, frame: bytes) -> list[bytes]:
        """Return the frame unchanged, and count its refusals."""
        for result in chat_pb2.ConnectResponse.FromString(frame).send_results.results:
            if result.HasField("refused"):
                self.refused[self._reason(result)] += 1
        return [frame]


def live_entries(frame: bytes) -> chat_pb2.Entries | None:
    """Return the content of a live `entries` frame; None for any other frame."""
    told = chat_pb2.ConnectResponse.FromString(frame)
    return told.entries if told.HasField("entries") and not told.entries.ranges else None


def _positions(told: chat_pb2.Entries) -> list[tuple[str, int]]:
    return [(entry.conversation_id, entry.seq) for entry in told.entries]

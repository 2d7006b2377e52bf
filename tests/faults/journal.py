"""The timed record of sends, answers, deliveries and faults, which is the judge's only input."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from parley.chat.v1 import entry_pb2

_COMES = {entry_pb2.MembershipChanged.KIND_CREATED, entry_pb2.MembershipChanged.KIND_ADDED}
_GOES = {entry_pb2.MembershipChanged.KIND_REMOVED, entry_pb2.MembershipChanged.KIND_LEFT}


@dataclass(frozen=True, slots=True)
class Line:
    """An entry as every member sees it. `text` is None unless it is a message; `moves` lists users added and removed.

    Texts are unique, so a text identifies its message.
    """

    seq: int
    actor: str
    text: str | None
    moves: tuple[tuple[str, bool], ...] = ()

    def __str__(self) -> str:
        what = repr(self.text) if self.text is not None else f"members {dict(self.moves)}" if self.moves else "a change"
        return f"seq {self.seq} by {self.actor[:8]}: {what}"


def line_of(entry: entry_pb2.Entry) -> Line:
    """Return the judge's form of an entry."""
    if entry.HasField("message_appended"):
        return Line(entry.seq, entry.actor_id, entry.message_appended.content.text.body)
    change = entry.membership_changed
    comes = change.kind in _COMES
    if comes or change.kind in _GOES:
        moved = tuple((each.user_id, comes) for each in change.members)
        return Line(entry.seq, entry.actor_id, None, moved)
    return Line(entry.seq, entry.actor_id, None)


@dataclass(slots=True, eq=False)
class Send:
    """A send of a device: its order, its time, and the seqs it was answered with."""

    device: str
    number: int
    conversation: str
    text: str
    at: float
    seqs: set[int] = field(default_factory=set)
    answered_at: float | None = None
    # Why it was refused for good.
    refused: str = ""

    def __str__(self) -> str:
        return f"send {self.number} of {self.device} to {self.conversation[:8]}: {self.text!r}, answered {self.seqs}"


@dataclass(frozen=True, slots=True)
class Given:
    """An entry delivered to a device."""

    device: str
    conversation: str
    line: Line
    at: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """A device opened a stream and had fetched every conversation of its first `changes` by `done_at`."""

    device: str
    opened_at: float
    done_at: float


@dataclass(frozen=True, slots=True)
class Revoked:
    """A device's revocation, with the time of its answer."""

    device: str
    at: float


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that struck and was healed, with the number of sends in flight."""

    name: str
    at: float
    healed_at: float
    in_flight: int


@dataclass(slots=True)
class Journal:
    """All recorded events in the order they happened.

    `users` tells whose a device is, `in_order` which ones are given the entries of a conversation one after the other.
    """

    users: dict[str, str] = field(default_factory=dict)
    in_order: set[str] = field(default_factory=set)
    sends: list[Send] = field(default_factory=list)
    given: list[Given] = field(default_factory=list)
    resumed: list[Resumed] = field(default_factory=list)
    revoked: list[Revoked] = field(default_factory=list)
    struck: list[Struck] = field(default_factory=list)
    # The sends that nobody has answered yet.
    unanswered: list[Send] = field(default_factory=list)

    def says(self, device: str, conversation: str, text: str) -> Send:
        """Record that a device began a send."""
        send = Send(device, len(self.sends), conversation, text, time.monotonic())
        self.sends.append(send)
        self.unanswered.append(send)
        return send

    def answer(self, send: Send, seq: int) -> None:
        """Record an acknowledgement of a send, which may be a repeat."""
        send.seqs.add(seq)
        self._done(send)

    def refuse(self, send: Send, why: str) -> None:
        """Record the permanent refusal of a send."""
        send.refused = why
        self._done(send)

    def _done(self, send: Send) -> None:
        if send.answered_at is None:
            send.answered_at = time.monotonic()
            self.unanswered.remove(send)

    def gives(self, device: str, entry: entry_pb2.Entry) -> None:
        """Record an entry delivered to a device."""
        self.given.append(Given(device, entry.conversation_id, line_of(entry), time.monotonic()))

    @property
    def acknowledged(self) -> int:
        """Return the number of acknowledged sends."""
        return sum(bool(send.seqs) for send in self.sends)

"""The record of pushes: what was written to whom, when users were in the foreground, and what the provider recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.faults.journal import Journal

NOTIFICATION = "message"
WITHDRAWAL = "read"


@dataclass(frozen=True, slots=True)
class Pushed:
    """A push as the provider recorded it, `at` in monotonic seconds. A withdrawal has no title and no body."""

    token: str
    kind: str
    conversation: str
    seq: int
    collapse_id: str
    title: str
    body: str
    at: float

    def __str__(self) -> str:
        what = f"{self.kind} {self.seq} of {self.conversation[:8]} with {self.collapse_id[:8]}"
        return f"{what} to {self.token[:8]} at {self.at:.1f}: {self.title!r}, {self.body!r}"


@dataclass(slots=True)
class Visit:
    """A time in which a device of a user may have been in the foreground; it lasts until the device says otherwise."""

    user: str
    since: float
    until: float = float("inf")


@dataclass(frozen=True, slots=True)
class ReadUpTo:
    """A device said that its user has read a conversation up to a seq."""

    user: str
    conversation: str
    seq: int
    at: float


@dataclass(slots=True)
class PushJournal:
    """All recorded events in the order they happened.

    `chat` has the sends of the writers. `names` has the display names of users, `titles` those of groups by
    conversation, `tokens` the user of each token. `muted` has pairs of user and conversation, muted before the first
    message. Users without a visit never are in the foreground.
    """

    chat: Journal = field(default_factory=Journal)
    names: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    muted: set[tuple[str, str]] = field(default_factory=set)
    visits: list[Visit] = field(default_factory=list)
    reads: list[ReadUpTo] = field(default_factory=list)
    pushed: list[Pushed] = field(default_factory=list)

    def notifications(self) -> Iterator[Pushed]:
        """Return what was pushed and is no withdrawal."""
        return (each for each in self.pushed if each.kind == NOTIFICATION)

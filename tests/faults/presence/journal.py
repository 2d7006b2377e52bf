"""The record of presence: when devices were heard, what watchers were told, and what is true at the end."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer of a server to a device in the foreground, on the stream of this number."""

    stream: int
    at: float


@dataclass(frozen=True, slots=True)
class Told:
    """The state of a user as a watcher was told."""

    watcher: str
    user: str
    state: str
    at: float


@dataclass(slots=True)
class PresenceJournal:
    """All recorded events in the order they happened.

    `watchers` are those who watch until the end, `heard` has the users who never left the foreground by their own will,
    `shown` what each watcher knows of the users it watches, and `truth` the states in which all users were left.
    """

    watchers: list[str] = field(default_factory=list)
    heard: dict[str, list[Heard]] = field(default_factory=lambda: defaultdict(list))
    told: list[Told] = field(default_factory=list)
    shown: dict[str, dict[str, str]] = field(default_factory=dict)
    truth: dict[str, str] = field(default_factory=dict)

    def differences(self) -> list[str]:
        """Return how what watchers know differs from the truth."""
        shown: dict[str, dict[str, str]] = {name: {} for name in self.watchers} | self.shown
        return [
            f"{watcher} knows {user[:8]} as {known.get(user, 'unknown')}, who is {state}"
            for watcher, known in shown.items()
            for user, state in self.truth.items()
            if known.get(user) != state
        ]

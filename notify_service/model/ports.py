"""The ports of notify: what it needs of stores and of the directory of chat."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from notify_service.model.decision import ConversationContext, PushDecision
from notify_service.model.preferences import Preferences, PreferencesChange
from notify_service.model.registration import Registration


class TokenStore(Protocol):
    """The registrations of devices; every method raises StoreUnavailable."""

    async def put(self, registration: Registration) -> None:
        """Store the registration of a device, instead of its previous one, and take the token from other devices."""

    async def find_all(self, user_ids: Collection[str]) -> dict[str, list[Registration]]:
        """Return the registrations of users, in order of device; users without are left out."""

    async def delete_device(self, user_id: str, device_id: str) -> None:
        """Delete the registration of a device."""

    async def delete_token(self, registration: Registration) -> None:
        """Delete a registration unless the token was registered again since."""

    async def delete_user(self, user_id: str) -> None:
        """Delete all registrations of a user."""

    async def note_pushes(self, accepted_ms: Mapping[bytes, int]) -> None:
        """Store when pushes were accepted, by id of the token."""


class PreferencesStore(Protocol):
    """The preferences of users; every method raises StoreUnavailable."""

    async def find_all(self, user_ids: Collection[str]) -> dict[str, Preferences]:
        """Return the preferences of users; those who never set any are left out."""

    async def change(self, user_id: str, change: PreferencesChange) -> Preferences:
        """Change the preferences of a user, and return them; concurrent changes of other fields are kept."""

    async def delete(self, user_id: str) -> None:
        """Delete the preferences of a user."""


@dataclass(frozen=True, slots=True)
class QueuedPayload:
    """An event of the queue: its id, its bytes, and how often it was delivered to a server.

    `requeued`: an operator had it sent again.
    """

    event_id: str
    payload: bytes = field(repr=False)
    deliveries: int = 1
    requeued: bool = False


@dataclass(frozen=True, slots=True)
class DelayedJob:
    """A serialized job that is due after `delay_s` seconds."""

    payload: bytes = field(repr=False)
    delay_s: float


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A serialized job that failed for good, or, if it `is_event`, an event that cannot be processed.

    `letter_id` is `<milliseconds since 1970>-<number>`, by the clock of the store; empty until the letter is stored.
    """

    payload: bytes = field(repr=False)
    reason: str
    is_event: bool = False
    letter_id: str = ""


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The depth of the queue: events, the age of the oldest in seconds, jobs to be sent again, dead letters."""

    events: int
    oldest_s: float
    jobs: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class QueueConsumer:
    """A consumer of the queue: its events in progress, and the seconds since it last asked for events."""

    name: str
    taken_events: int
    idle_s: float


class PushQueue(Protocol):
    """The queue of events, the jobs to be sent again, and the dead letters; every method raises StoreUnavailable.

    An event that was read belongs to its consumer until it is acknowledged, or claimed by another one.
    """

    async def read(self, consumer: str, count: int, wait_s: float) -> list[QueuedPayload]:
        """Return at most `count` new events; an empty list if there is none for `wait_s` seconds."""

    async def read_own(self, consumer: str, count: int) -> list[QueuedPayload]:
        """Return events that were delivered to this consumer before, and not acknowledged, at most `count`."""

    async def claim(self, consumer: str, idle_s: float, count: int) -> list[QueuedPayload]:
        """Take over events that no consumer has renewed for `idle_s` seconds, at most `count`."""

    async def renew(self, consumer: str, event_ids: Collection[str]) -> None:
        """Keep other consumers from claiming events of this one."""

    async def remove_consumers(self, idle_s: float) -> None:
        """Remove consumers that have no event and did not read for `idle_s` seconds, such as ended servers."""

    async def acknowledge(
        self, event_id: str, jobs: Sequence[DelayedJob] = (), dead_letters: Sequence[DeadLetter] = ()
    ) -> None:
        """Remove an event and store what is left of it, at once. Do nothing if it was acknowledged before."""

    async def take_due(self, count: int, lease_s: float) -> list[bytes]:
        """Return jobs that are due, at most `count`. They are due again after `lease_s` unless acknowledged."""

    async def acknowledge_job(
        self, payload: bytes, jobs: Sequence[DelayedJob] = (), dead_letters: Sequence[DeadLetter] = ()
    ) -> None:
        """Remove a job and store what is left of it, at once. Do nothing if it was acknowledged before."""

    async def list_dead_letters(self, after: str, count: int) -> list[DeadLetter]:
        """Return at most `count` dead letters after that id, the oldest first."""

    async def find_dead_letters(self, letter_ids: Collection[str]) -> list[DeadLetter]:
        """Return the dead letters with these ids; those that are gone are left out."""

    async def delete_dead_letters_of(self, user_id: str) -> None:
        """Delete the dead letters that name a user: as the recipient, an author, or mentioned."""

    async def trim_dead_letters(self, age_s: float) -> None:
        """Remove dead letters that are older."""

    async def requeue(self, letters: Sequence[DeadLetter]) -> int:
        """Replace dead letters by these payloads, which are due now. Return how many letters there still were."""

    async def delete_dead_letters(self, letter_ids: Collection[str]) -> int:
        """Delete dead letters. Return how many of them there still were."""

    async def measure(self) -> QueueDepth:
        """Return the depth of the queue."""

    async def list_consumers(self) -> list[QueueConsumer]:
        """Return the consumers of the queue, in order of name."""


class PushedEntryStore(Protocol):
    """The newest entry of each conversation that was pushed to a user; every method raises StoreUnavailable."""

    async def record(
        self, conversation_id: str, seqs: Mapping[str, int], read_seqs: Mapping[str, int], event_id: str = ""
    ) -> tuple[set[str], set[str]]:
        """Record the entries that are about to be pushed, by user; `read_seqs` is how far the users have read.

        Return the users to whom they may be pushed, and those to whom another event than `event_id` pushed the same. To
        all others a newer entry was pushed, or they have read this one.
        """

    async def find(self, conversation_id: str, user_ids: Collection[str]) -> dict[str, int]:
        """Return for each user the newest entry that was pushed and not withdrawn; 0 if there is none."""

    async def begin_withdrawal(self, user_id: str, conversation_id: str, read_seq: int) -> int:
        """Mark what was pushed as withdrawn if it was read; return its seq, 0 if nothing was pushed.

        If the seq is greater than `read_seq`, nothing is marked.
        """

    async def withdraw_deleted(self, conversation_id: str, user_ids: Collection[str], seq: int) -> list[str]:
        """Mark a deleted entry as withdrawn; return the users to whom it was pushed, and nothing newer.

        It is not forgotten: a receipt of earlier entries still changes the number on the icon.
        """

    async def end_withdrawal(self, user_id: str, conversation_id: str, seq: int) -> None:
        """Forget a conversation whose withdrawal up to `seq` was sent, unless a newer entry was pushed since."""

    async def delete(self, user_id: str) -> None:
        """Delete what is stored of a user."""


class TraceStore(Protocol):
    """The last decisions about pushes to each user; every method raises StoreUnavailable."""

    async def add(self, decisions: Sequence[tuple[str, PushDecision]]) -> None:
        """Store decisions, each with its user."""

    async def find(self, user_id: str) -> list[PushDecision]:
        """Return the last decisions about pushes to a user, the newest first."""

    async def delete(self, user_id: str) -> None:
        """Delete the decisions about pushes to a user."""


class Directory(Protocol):
    """The directory of chat; every method raises StoreUnavailable and ServiceUnavailable."""

    async def describe(
        self,
        conversation_id: str,
        author_id: str,
        user_ids: Collection[str],
        target_seqs: Collection[int],
        newest_seq: int = 0,
        message_seqs: Collection[int] = (),
    ) -> ConversationContext:
        """Return the context of notifications to users, with the deleted ones of `message_seqs`.

        With `newest_seq` the badge is 0 for users who are not notified of entries up to it, as far as chat knows.
        """

    async def find_unpushed(self, user_id: str) -> PushDecision | None:
        """Return the last entry that chat did not queue because a device of the user was in the foreground.

        None if there is none, or no device is connected. Also raise OwnerUnavailable of chat, a Failure.
        """

    async def filter_signed_in(self, user_id: str, device_ids: Collection[str]) -> set[str]:
        """Return those devices of a user that are signed in."""

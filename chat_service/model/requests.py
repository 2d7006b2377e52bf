"""What a sender is told: where the entry went, or why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chat_service.model.entry import ConversationUpdated, Draft, MembershipChanged, MembershipKind, Role
from servicekit.failure import Failure

# An owner may change, or a store pause, for this long before the device is told.
RETRY_WINDOW_S: Final = 10.0
# Refusals that another try mends, perhaps with another owner.
RETRYABLE: Final = frozenset({"OWNER_UNAVAILABLE", "STORE_UNAVAILABLE", "SERVER_DRAINING"})


@dataclass(frozen=True, slots=True)
class Appended:
    """Durable at this seq; time in milliseconds since 1970."""

    seq: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The result of a draft that changes nothing, such as setting a role that the member has; no entry is appended.

    `time_ms` is the time of the log's head, in milliseconds since 1970.
    """

    time_ms: int


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a request that does not report an entry: a creation, a receipt, an invalidation."""


AppendOutcome = Appended | Unchanged | Failure
OnAppended = Callable[[AppendOutcome], None]
DoneOutcome = Done | Failure
OnDone = Callable[[DoneOutcome], None]


@dataclass(frozen=True, slots=True)
class Receipt:
    """All up to `delivered_seq` is on the device, and all up to `read_seq` was read; 0: unchanged.

    `device_id` is empty when a server of an earlier version passed it on.
    """

    user_id: str
    device_id: str
    conversation_id: str
    delivered_seq: int
    read_seq: int

    @property
    def highest_seq(self) -> int:
        """What is read has come."""
        return max(self.delivered_seq, self.read_seq)


@dataclass(frozen=True, slots=True)
class Creation:
    """Who makes which conversation with whom; a 1-1 conversation has no title, a group always has one."""

    conversation_id: str
    creator_id: str
    request_id: bytes
    member_ids: tuple[str, ...]
    title: str

    def drafts(self) -> list[Draft]:
        """Its first entries: the members, and the title of a group."""
        roles = tuple((user, self._role(user)) for user in sorted(self.member_ids))
        created = self._draft(self.request_id, MembershipChanged(MembershipKind.CREATED, roles))
        if not self.title:
            return [created]
        # One request, two entries: the second key is the id with a first bit that no UUIDv7 of our time has.
        titled = bytes([self.request_id[0] ^ 0x80]) + self.request_id[1:]
        return [created, self._draft(titled, ConversationUpdated(self.title))]

    def _role(self, user: str) -> Role:
        return Role.ADMIN if self.title and user == self.creator_id else Role.MEMBER

    def _draft(self, request_id: bytes, change: MembershipChanged | ConversationUpdated) -> Draft:
        return Draft(self.conversation_id, self.creator_id, request_id, change, made_ms=0)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Whose order is to be kept: the sends of one session to one conversation, which an edge sends again together."""

    session_id: str
    # Rises each time.
    number: int

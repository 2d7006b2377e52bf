"""The requests to the owner of a conversation, and their outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chat_service.model.entry import ConversationUpdated, Draft, MembershipChanged, MembershipKind, Role
from servicekit.failure import Failure

# A request is retried for this long while the owner changes or a store is unavailable; then the client gets the error.
RETRY_WINDOW_S: Final = 10.0
# Reasons of errors after which the same request may succeed, perhaps at another owner.
RETRYABLE: Final = frozenset({"OWNER_UNAVAILABLE", "STORE_UNAVAILABLE", "SERVER_DRAINING"})


@dataclass(frozen=True, slots=True)
class Appended:
    """The result of a draft whose entry is durable at `seq`; `time_ms` is in milliseconds since 1970."""

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
    """A receipt: the entries up to `delivered_seq` are on the device, those up to `read_seq` were read (0: unchanged).

    `device_id` is empty if a server of an earlier version forwarded the receipt.
    """

    user_id: str
    device_id: str
    conversation_id: str
    delivered_seq: int
    read_seq: int

    @property
    def highest_seq(self) -> int:
        """Return the higher of both seqs, because what is read has been delivered."""
        return max(self.delivered_seq, self.read_seq)


@dataclass(frozen=True, slots=True)
class Creation:
    """The creation of a conversation; `title` is empty for a 1-1 conversation and set for a group."""

    conversation_id: str
    creator_id: str
    request_id: bytes
    member_ids: tuple[str, ...]
    title: str

    def drafts(self) -> list[Draft]:
        """Return the drafts of the first entries: the members and, for a group, the title."""
        roles = tuple((user, self._role(user)) for user in sorted(self.member_ids))
        created = self._draft(self.request_id, MembershipChanged(MembershipKind.CREATED, roles))
        if not self.title:
            return [created]
        # The second draft needs a key of its own: the request id with a first bit that no UUIDv7 of this era has.
        title_request_id = bytes([self.request_id[0] ^ 0x80]) + self.request_id[1:]
        return [created, self._draft(title_request_id, ConversationUpdated(self.title))]

    def _role(self, user: str) -> Role:
        return Role.ADMIN if self.title and user == self.creator_id else Role.MEMBER

    def _draft(self, request_id: bytes, change: MembershipChanged | ConversationUpdated) -> Draft:
        return Draft(self.conversation_id, self.creator_id, request_id, change, made_ms=0)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of an edge to forward the unanswered sends of a session to a conversation, in order.

    After a refusal the edge begins the next attempt; `number` rises with each.
    """

    session_id: str
    number: int

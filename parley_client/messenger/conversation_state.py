"""A conversation of the messenger: what is seen of it, what is being sent, and what is being written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from parley.chat.v1 import conversation_pb2, entry_pb2
from parley.chat.v1.entry_pb2 import Content
from parley_client.dialogue import Sending
from parley_client.view import ConversationView

_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(eq=False, slots=True)
class Outgoing:
    """A message on its way. `trouble` says why it will not arrive; empty: it still may."""

    sending: Sending
    content: Content
    trouble: str = ""


@dataclass(slots=True)
class Draft:
    """What stands in the composer, and the message it answers or replaces (0: none)."""

    text: str = ""
    reply_to_seq: int = 0
    edit_seq: int = 0


@dataclass(eq=False, slots=True)
class Chat:
    """One conversation. `known`: the server has told what it is; `loaded`: its newest messages are here."""

    view: ConversationView
    known: bool = False
    group: bool = False
    newest_time: datetime = _NEVER
    loaded: bool = False
    complete: bool = False
    """Whether the history is here down to its first message."""
    loading: bool = False
    outgoing: list[Outgoing] = field(default_factory=list)
    draft: Draft = field(default_factory=Draft)

    @property
    def id(self) -> str:
        """32 lower-case hex digits."""
        return self.view.conversation_id

    @property
    def peer_id(self) -> str:
        """The other one of a 1-1 conversation."""
        return next(iter(self.view.others), self.view.me)

    @property
    def admin(self) -> bool:
        """Whether the user may change the group."""
        return self.group and self.view.members.get(self.view.me) == entry_pb2.ROLE_ADMIN

    @property
    def silent(self) -> str:
        """Why nothing can be sent; empty: it can."""
        if self.view.former:
            return "You are not a member any more; what you saw stays here."
        if self.group and self.view.admins_only_send and not self.admin:
            return "Only admins write here."
        return ""

    def told(self, conversation: conversation_pb2.Conversation) -> None:
        """The server told what it is now."""
        self.known, self.view.head_seq = True, max(self.view.head_seq, conversation.head_seq)
        self.group = conversation.kind == conversation_pb2.CONVERSATION_KIND_GROUP
        self.view.told(conversation)
        made = conversation.head.create_time if conversation.HasField("head") else conversation.create_time
        self.happened(made.ToDatetime(tzinfo=UTC))

    def happened(self, time: datetime) -> None:
        """Something happened in it; the newest comes first in the list."""
        self.newest_time = max(self.newest_time, time)

    def arrived(self, client_message_id: str) -> None:
        """A message of this device stands in the log, and is on its way no more."""
        if client_message_id:
            self.outgoing = [each for each in self.outgoing if each.sending.client_message_id != client_message_id]

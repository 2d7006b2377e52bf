"""The messenger's state of one conversation: its view, its outgoing messages and its draft."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from parley.chat.v1 import conversation_pb2, entry_pb2
from parley.chat.v1.entry_pb2 import Content
from parley_client.stream_protocol import PendingSend
from parley_client.view import ConversationView

_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(eq=False, slots=True)
class OutgoingMessage:
    """A message that is not in the log yet. `error` explains why it was refused; empty: it is still being sent."""

    sending: PendingSend
    content: Content
    error: str = ""
    shown_content: Content | None = None
    """The content with the facts about its file, which the server will add; None: `content` has all there is."""


@dataclass(slots=True)
class ComposerDraft:
    """The text of the composer, and the seq of the message it replies to or edits (0: none)."""

    text: str = ""
    reply_to_seq: int = 0
    edit_seq: int = 0


@dataclass(eq=False, slots=True)
class ConversationState:
    """The state of one conversation.

    `known`: the server has described it. `loaded`: its newest messages are in the view.
    """

    view: ConversationView
    known: bool = False
    is_group: bool = False
    newest_time: datetime = _NEVER
    loaded: bool = False
    complete: bool = False
    """True once the view holds the history from its first message."""
    loading: bool = False
    outgoing: list[OutgoingMessage] = field(default_factory=list)
    draft: ComposerDraft = field(default_factory=ComposerDraft)
    seen_seq: int = 0
    """The seq of the newest message that has been on the screen since the conversation was opened."""
    sent_seqs: dict[str, int] = field(default_factory=dict)
    """The seqs of the messages that this messenger has sent, by client message id."""

    @property
    def id(self) -> str:
        """The conversation id, 32 lower-case hex digits."""
        return self.view.conversation_id

    @property
    def peer_id(self) -> str:
        """The user id of the other member of a 1-1 conversation."""
        return next(iter(self.view.other_members), self.view.user_id)

    @property
    def is_admin(self) -> bool:
        """True if this is a group and the user is one of its admins."""
        return self.is_group and self.view.members.get(self.view.user_id) == entry_pb2.ROLE_ADMIN

    @property
    def read_only_reason(self) -> str:
        """The reason why the user cannot send; empty: the user can."""
        if self.view.is_former_member:
            return "You are not a member any more. You can still read earlier messages."
        if self.is_group and self.view.admins_only_send and not self.is_admin:
            return "Only admins can write here."
        return ""

    def update(self, conversation: conversation_pb2.Conversation) -> None:
        """Apply the server's current description of the conversation."""
        self.known, self.view.head_seq = True, max(self.view.head_seq, conversation.head_seq)
        self.is_group = conversation.kind == conversation_pb2.CONVERSATION_KIND_GROUP
        self.view.apply_conversation(conversation)
        if conversation.HasField("head"):
            self.view.apply_entries([conversation.head])
        newest = conversation.head.create_time if conversation.HasField("head") else conversation.create_time
        self.advance_time(newest.ToDatetime(tzinfo=UTC))

    def advance_time(self, time: datetime) -> None:
        """Raise `newest_time`, which orders the list, to `time` if it is later."""
        self.newest_time = max(self.newest_time, time)

    def remove_outgoing(self, client_message_id: str, seq: int) -> None:
        """Remove an outgoing message that is in the log now, at `seq`."""
        if client_message_id:
            self.sent_seqs[client_message_id] = seq
            self.outgoing = [
                message for message in self.outgoing if message.sending.client_message_id != client_message_id
            ]

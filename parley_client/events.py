"""The events that a device yields to its application, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING

from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from parley_client.errors import ParleyError
from parley_client.message import Message
from parley_client.presence_state import PresenceState, UserPresence

if TYPE_CHECKING:
    from parley_client.messages import Messages


@dataclass(frozen=True, slots=True)
class EntryReceived:
    """The next entry of a conversation's log: each entry once, in order of seq.

    A message implies that its sender has received and read everything up to it.
    """

    entry: entry_pb2.Entry
    live: bool
    """True: the server pushed the entry; False: the device fetched it, because it was offline or missed it."""
    calls: Messages | None = field(default=None, repr=False, compare=False)
    """The calls that the methods of `message` make."""

    @property
    def message(self) -> Message | None:
        """The message that was appended, as it was when the entry was read; None for every other entry."""
        if not self.entry.HasField("message_appended"):
            return None
        return Message.from_entry(self.entry, self.calls)

    @property
    def conversation_id(self) -> str:
        """The id of the conversation: 32 lower-case hex digits."""
        return self.entry.conversation_id

    @property
    def seq(self) -> int:
        """The entry's number in the log, from 1."""
        return self.entry.seq

    @property
    def actor_id(self) -> str:
        """The id of the user who made the change: 32 lower-case hex digits."""
        return self.entry.actor_id

    @property
    def text(self) -> str | None:
        """The text of a text message; None for every other entry."""
        content = self.entry.message_appended.content
        return content.text.body if content.HasField("text") else None

    @property
    def time(self) -> datetime:
        """The server's time of the append."""
        return self.entry.create_time.ToDatetime(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WatermarkMoved:
    """A member has received and read everything up to these seqs, which never decrease."""

    conversation_id: str
    user_id: str
    delivered_seq: int
    read_seq: int


@dataclass(frozen=True, slots=True)
class PersonalSettings:
    """The user's settings of a conversation, shared by all devices. `mute_until` None: pushes are not muted."""

    mute_until: datetime | None = None
    pinned: bool = False
    archived: bool = False

    @classmethod
    def from_proto(cls, proto: chat_pb2.PersonalSettings | conversation_pb2.Conversation) -> PersonalSettings:
        """Convert a proto."""
        muted = proto.HasField("mute_until_time")
        mute_until = proto.mute_until_time.ToDatetime(tzinfo=UTC) if muted else None
        return cls(mute_until, proto.pinned, proto.archived)


@dataclass(frozen=True, slots=True)
class Membership:
    """The membership of a user from `joined_seq` on, which ended at `left_seq`; 0: it has not ended."""

    user_id: str
    joined_seq: int
    left_seq: int = 0


@dataclass(frozen=True, slots=True)
class ConversationChecked:
    """The device has fetched a conversation up to its head; the fields are a snapshot of that moment.

    `hidden_seqs` are the messages that the user deleted only for themselves; the server lists at most 1,000. The server
    keeps no content below `first_seq`. Below `expired_seq` nobody may keep it; the rest was removed because every
    device has received it, and stays readable on the device. `memberships` are those of the members, and the former
    ones that the delivery status of the user's messages depends on.
    """

    conversation_id: str
    head_seq: int
    first_seq: int
    unread_count: int
    settings: PersonalSettings = PersonalSettings()
    hidden_seqs: frozenset[int] = frozenset()
    expired_seq: int = 1
    memberships: tuple[Membership, ...] = ()

    @classmethod
    def from_proto(cls, result: chat_pb2.RangeResult) -> ConversationChecked:
        """Convert the result of a range that ends at the head."""
        return cls(
            result.conversation_id,
            result.head_seq,
            result.first_seq,
            result.unread_count,
            PersonalSettings.from_proto(result.settings),
            frozenset(result.hidden_seqs),
            # Earlier servers do not set it.
            result.expired_seq or result.first_seq,
            tuple(Membership(each.user_id, each.joined_seq, each.left_seq) for each in result.watermarks),
        )


@dataclass(frozen=True, slots=True)
class ConversationGone:
    """The user may not, or no longer, see a conversation."""

    conversation_id: str
    error: ParleyError


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """All changes up to the opening of the stream, or up to a later re-check, have been received."""

    resync: bool
    """True: the server could not use the cursor, and all conversations were fetched."""


@dataclass(frozen=True, slots=True)
class TypingChanged:
    """A member started or stopped typing. Typing stops by a notice, a message, or 6 s without a notice."""

    conversation_id: str
    user_id: str
    typing: bool


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """The presence of a watched user: all users once after each new stream, then each change.

    `online` is True in the state ONLINE alone. `last_seen` is the server's time; None if the user is online, never was,
    or does not show it.
    """

    user_id: str
    online: bool
    last_seen: datetime | None
    state: PresenceState

    @classmethod
    def from_proto(cls, proto: chat_pb2.UserPresence) -> PresenceChanged:
        """Convert a proto."""
        presence = UserPresence.from_proto(proto)
        return cls(presence.user_id, presence.state is PresenceState.ONLINE, presence.last_seen, presence.state)


class ConnectionState(Enum):
    """The state of a device's connection."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """The connection changed its state. ENDED is final: the device is signed out, or a newer stream superseded it."""

    state: ConnectionState
    home: str = ""
    error: ParleyError | None = None
    retry_in: float | None = None
    """Seconds until the next attempt, in state RECONNECTING."""


@dataclass(frozen=True, slots=True)
class SendRefused:
    """A message was refused permanently; awaiting its PendingSend raises the same error."""

    conversation_id: str
    client_message_id: str
    error: ParleyError


@dataclass(frozen=True, slots=True)
class FrameRefused:
    """The server refused a frame that has no response of its own, such as a receipt or a typing notice."""

    error: ParleyError


Event = (
    EntryReceived
    | WatermarkMoved
    | ConversationChecked
    | ConversationGone
    | CaughtUp
    | TypingChanged
    | PresenceChanged
    | ConnectionChanged
    | SendRefused
    | FrameRefused
)

"""What a device tells its application, in the order it happened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from parley_client.errors import ParleyError


@dataclass(frozen=True, slots=True)
class EntryReceived:
    """The next entry of a conversation's log: every one, once, in order of seq.

    A message also means that its sender has received and read everything up to it.
    """

    entry: entry_pb2.Entry
    live: bool
    """Whether it came by itself; False: it was fetched, because the device was away or missed it."""

    @property
    def conversation_id(self) -> str:
        """32 lower-case hex digits."""
        return self.entry.conversation_id

    @property
    def seq(self) -> int:
        """Its place in the log, from 1."""
        return self.entry.seq

    @property
    def actor_id(self) -> str:
        """Whose doing it is: 32 lower-case hex digits."""
        return self.entry.actor_id

    @property
    def text(self) -> str | None:
        """The words of a message; None for everything else."""
        content = self.entry.message_appended.content
        return content.text.body if content.HasField("text") else None

    @property
    def time(self) -> datetime:
        """When the server appended it."""
        return self.entry.create_time.ToDatetime(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WatermarkMoved:
    """A member has received, or read, everything up to these seqs. Neither ever falls."""

    conversation_id: str
    user_id: str
    delivered_seq: int
    read_seq: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user has set for a conversation, on all devices alike. `mute_until` None: pushes are not silenced."""

    mute_until: datetime | None = None
    pinned: bool = False
    archived: bool = False

    @classmethod
    def of(cls, told: chat_pb2.PersonalSettings | conversation_pb2.Conversation) -> Settings:
        """As the server told them."""
        muted = told.HasField("mute_until_time")
        until = told.mute_until_time.ToDatetime(tzinfo=UTC) if muted else None
        return cls(until, told.pinned, told.archived)


@dataclass(frozen=True, slots=True)
class ConversationChecked:
    """The device has looked at a conversation and has all of it; the rest is true for this moment.

    `hidden_seqs` are the messages the user deleted only from the own view; the server names at most 1,000.
    """

    conversation_id: str
    head_seq: int
    first_seq: int
    unread_count: int
    settings: Settings = Settings()
    hidden_seqs: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class ConversationGone:
    """The user may not see a conversation (any more)."""

    conversation_id: str
    error: ParleyError


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Everything that had changed when the stream opened, or at a re-check, has been received."""

    resync: bool
    """Whether all conversations had to be looked at."""


@dataclass(frozen=True, slots=True)
class TypingChanged:
    """A member began to type, or ended: by word, by a message, or because nothing was heard for 6 s."""

    conversation_id: str
    user_id: str
    typing: bool


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """A watched user came or went; `last_seen` is None if hidden or online."""

    user_id: str
    online: bool
    last_seen: datetime | None


class ConnectionState(Enum):
    """How the device stands with the server."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """The connection changed. Only ENDED is for good: signed out, or taken over by a newer stream."""

    state: ConnectionState
    home: str = ""
    error: ParleyError | None = None
    retry_in: float | None = None
    """Seconds until the next attempt."""


@dataclass(frozen=True, slots=True)
class SendRefused:
    """A message was refused for good; the awaitable of its send raises the same error."""

    conversation_id: str
    client_message_id: str
    error: ParleyError


@dataclass(frozen=True, slots=True)
class FrameRefused:
    """The server refused something that has no answer of its own, such as a receipt or a typing notice."""

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

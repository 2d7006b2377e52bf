"""The presence of users, and who may see it, as the SDK shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from parley.chat.v1 import chat_pb2
from parley.presence.v1 import presence_pb2


class PresenceState(Enum):
    """The state of a user.

    ONLINE: a device is in the foreground. BACKGROUND: devices are connected, all of them in the background. OFFLINE: no
    device is connected, or the user does not show it; the two look the same.
    """

    ONLINE = presence_pb2.PRESENCE_STATE_ONLINE
    BACKGROUND = presence_pb2.PRESENCE_STATE_BACKGROUND
    OFFLINE = presence_pb2.PRESENCE_STATE_OFFLINE

    @classmethod
    def _missing_(cls, value: object) -> PresenceState:  # noqa: ARG003
        """Return OFFLINE for a state that a newer server has added."""
        return cls.OFFLINE


@dataclass(frozen=True, slots=True)
class UserPresence:
    """The presence of one user. `last_seen` is the server's time, in whole seconds.

    `last_seen` is when a device of the user was in the foreground last; None if one is now, if none ever was, or if the
    user does not show it.
    """

    user_id: str
    state: PresenceState
    last_seen: datetime | None = None

    @classmethod
    def from_proto(cls, proto: presence_pb2.Presence | chat_pb2.UserPresence) -> UserPresence:
        """Convert a proto. A chat server before the presence service sets `online` instead of `state`."""
        state = PresenceState(proto.state)
        if isinstance(proto, chat_pb2.UserPresence) and not proto.state and proto.online:
            state = PresenceState.ONLINE
        last_seen = proto.last_seen_time.ToDatetime(tzinfo=UTC) if proto.HasField("last_seen_time") else None
        return cls(proto.user_id, state, last_seen)


class Audience(Enum):
    """A set of users who may see something. Blocked users are never among them.

    ACQUAINTED are the users with whom the user began the 1-1 conversation, or wrote in it. UNKNOWN: a newer server has
    added the set; it cannot be set.
    """

    UNKNOWN = presence_pb2.AUDIENCE_UNSPECIFIED
    EVERYONE = presence_pb2.AUDIENCE_EVERYONE
    ACQUAINTED = presence_pb2.AUDIENCE_ACQUAINTED
    NOBODY = presence_pb2.AUDIENCE_NOBODY

    @classmethod
    def _missing_(cls, value: object) -> Audience:  # noqa: ARG003
        """Return UNKNOWN for a set that a newer server has added."""
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class Visibility:
    """The audiences of a user's presence: who sees whether the user is online, and who of them when the user last was.

    A user who shows a part to NOBODY does not see that part of others.
    """

    online: Audience
    last_seen: Audience

    @classmethod
    def from_proto(cls, proto: presence_pb2.Visibility) -> Visibility:
        """Convert a proto."""
        return cls(Audience(proto.online), Audience(proto.last_seen))

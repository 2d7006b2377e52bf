"""The presence of users, serialised once for all devices of an edge that are told of it."""

from __future__ import annotations

from typing import NamedTuple

from parley.chat.v1 import chat_pb2
from parley.presence.v1.presence_pb2 import Presence, PresenceState


class EncodedPresence(NamedTuple):
    """A serialised UserPresence. If it `shows_nothing`, its user may be hidden from the watching one."""

    user_id: str
    element: bytes
    shows_nothing: bool


def encode_presence(presence: Presence) -> EncodedPresence:
    """Return the presence of a user as a stream carries it."""
    has_time = presence.HasField("last_seen_time")
    encoded = chat_pb2.UserPresence(
        user_id=presence.user_id,
        online=presence.state == PresenceState.PRESENCE_STATE_ONLINE,
        last_seen_time=presence.last_seen_time if has_time else None,
        state=presence.state,
    )
    shows_nothing = presence.state == PresenceState.PRESENCE_STATE_OFFLINE and not has_time
    return EncodedPresence(presence.user_id, encoded.SerializeToString(), shows_nothing)

"""Conversions between the protos of presence and the domain."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from parley.internal.v1 import presence_report_pb2
from parley.presence.v1 import presence_pb2
from presence_service.model.presence import Presence, StreamState, Transition
from presence_service.model.visibility import Audience, Visibility


def encode_presence(user_id: str, presence: Presence) -> presence_pb2.Presence:
    """Return the presence of a user. Its last-seen time is in whole seconds."""
    encoded = presence_pb2.Presence(user_id=user_id, state=presence_pb2.PresenceState.ValueType(presence.state))
    if presence.seen_ms:
        encoded.last_seen_time.CopyFrom(seen_time(presence.seen_ms))
    return encoded


def seen_time(seen_ms: int) -> Timestamp:
    """Return a last-seen time in whole seconds."""
    return Timestamp(seconds=seen_ms // 1000)


def encode_presences(presences: Iterable[tuple[str, Presence]]) -> list[presence_pb2.Presence]:
    """Return the presence of users."""
    return [encode_presence(user_id, presence) for user_id, presence in presences]


def decode_transition(transition: presence_report_pb2.Transition) -> Transition:
    """Return the transition of a stream."""
    return Transition(
        transition.user_id,
        transition.session_id,
        StreamState(transition.state),
        transition.age.ToMilliseconds(),
        transition.sequence,
    )


def encode_visibility(visibility: Visibility) -> presence_pb2.Visibility:
    """Return the settings of a user."""
    return presence_pb2.Visibility(
        online=presence_pb2.Audience.ValueType(visibility.online),
        last_seen=presence_pb2.Audience.ValueType(visibility.last_seen),
    )


def decode_visibility(visibility: presence_pb2.Visibility) -> tuple[Audience | None, Audience | None]:
    """Return the audiences of a request, for online and last seen; None: unset."""
    return (
        Audience(visibility.online) if visibility.online else None,
        Audience(visibility.last_seen) if visibility.last_seen else None,
    )

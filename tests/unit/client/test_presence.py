"""Presence as the SDK reports it, as the messenger shows it in words, and what a device tells of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from parley.chat.v1 import chat_pb2
from parley.presence.v1 import presence_pb2
from parley.presence.v1.presence_pb2 import PRESENCE_STATE_BACKGROUND, PRESENCE_STATE_OFFLINE, PRESENCE_STATE_ONLINE
from parley_client import Audience, PresenceChanged, PresenceState, UserPresence, Visibility
from parley_client.clock import ServerClock
from parley_client.inbox import Inbox
from parley_client.messenger.presence import PeerPresence
from parley_client.send_queue import SendQueue
from parley_client.session import DeviceState
from parley_client.stream_protocol import StreamProtocol
from parley_client.watermarks import ReceiptTracker

BOB = "b" * 32
SEEN = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
# The terminal is two hours ahead of UTC.
ZONE = timezone(timedelta(hours=2))


def user_presence(state: presence_pb2.PresenceState.ValueType, seen: datetime | None = None) -> chat_pb2.UserPresence:
    proto = chat_pb2.UserPresence(user_id=BOB, state=state, online=state == PRESENCE_STATE_ONLINE)
    if seen is not None:
        proto.last_seen_time.CopyFrom(Timestamp(seconds=int(seen.timestamp())))
    return proto


def protocol() -> StreamProtocol:
    receipts = ReceiptTracker({})
    return StreamProtocol(Inbox("a" * 32, DeviceState(), receipts), receipts, SendQueue(), ServerClock())


def frames_of(device: StreamProtocol, kind: str) -> list[chat_pb2.ConnectRequest]:
    return [frame for frame in device.take_frames(0.0) if frame.WhichOneof("frame") == kind]


@pytest.mark.parametrize(
    ("proto", "event"),
    [
        (user_presence(PRESENCE_STATE_ONLINE), PresenceChanged(BOB, True, None, PresenceState.ONLINE)),
        (user_presence(PRESENCE_STATE_BACKGROUND, SEEN), PresenceChanged(BOB, False, SEEN, PresenceState.BACKGROUND)),
        (user_presence(PRESENCE_STATE_OFFLINE, SEEN), PresenceChanged(BOB, False, SEEN, PresenceState.OFFLINE)),
        (user_presence(PRESENCE_STATE_OFFLINE), PresenceChanged(BOB, False, None, PresenceState.OFFLINE)),
    ],
)
def test_presence_event_has_state_and_servers_time(proto: chat_pb2.UserPresence, event: PresenceChanged) -> None:
    assert PresenceChanged.from_proto(proto) == event


def test_presence_of_earlier_server_without_state_follows_from_online() -> None:
    earlier = chat_pb2.UserPresence(user_id=BOB, online=True)
    assert PresenceChanged.from_proto(earlier).state is PresenceState.ONLINE
    earlier.online = False
    assert PresenceChanged.from_proto(earlier).state is PresenceState.OFFLINE


def test_values_of_a_newer_server_claim_nothing() -> None:
    assert UserPresence.from_proto(presence_pb2.Presence(user_id=BOB, state=9)).state is PresenceState.OFFLINE  # type: ignore[arg-type]
    shown = Visibility.from_proto(presence_pb2.Visibility(online=9, last_seen=presence_pb2.AUDIENCE_NOBODY))  # type: ignore[arg-type]
    assert shown == Visibility(Audience.UNKNOWN, Audience.NOBODY)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (datetime(2026, 3, 14, 23, 0, tzinfo=ZONE), "last seen 14:30"),
        (datetime(2026, 3, 15, 0, 30, tzinfo=ZONE), "last seen 14 Mar 14:30"),
        (datetime(2027, 1, 1, 0, 30, tzinfo=ZONE), "last seen 14 Mar 2026"),
    ],
)
def test_last_seen_is_shown_at_servers_time_in_local_zone(now: datetime, words: str) -> None:
    peers = PeerPresence()
    peers.apply(PresenceChanged.from_proto(user_presence(PRESENCE_STATE_OFFLINE, SEEN)))
    assert peers.describe(BOB, now) == words


def test_user_who_left_without_a_time_is_shown_without_one() -> None:
    peers, now = PeerPresence(), datetime.now(ZONE)
    assert peers.describe(BOB, now) == ""
    for state, words in (
        (PRESENCE_STATE_ONLINE, "online"),
        (PRESENCE_STATE_BACKGROUND, "away"),
        (PRESENCE_STATE_ONLINE, "online"),
        (PRESENCE_STATE_OFFLINE, ""),
    ):
        peers.apply(PresenceChanged.from_proto(user_presence(state)))
        assert peers.describe(BOB, now) == words
        assert peers.state(BOB).value == state


def test_presence_is_unknown_once_forgotten() -> None:
    peers = PeerPresence()
    peers.apply(PresenceChanged.from_proto(user_presence(PRESENCE_STATE_ONLINE)))
    peers.forget()
    assert peers.state(BOB) is PresenceState.OFFLINE
    assert peers.describe(BOB, datetime.now(ZONE)) == ""


def test_watch_is_repeated_on_each_stream() -> None:
    device = protocol()
    device.watch_presence([BOB])
    for _ in range(2):
        device.start_stream(chat_pb2.Welcome())
        [frame] = frames_of(device, "watch_presence")
        assert frame.watch_presence.user_ids == [BOB]


def test_presence_on_a_retired_stream_does_not_replace_that_of_the_next_one() -> None:
    frame = chat_pb2.ConnectResponse(presence=chat_pb2.Presence(users=[user_presence(PRESENCE_STATE_ONLINE)]))
    assert protocol().handle_frame(frame, 0.0, current=False) == []
    assert len(protocol().handle_frame(frame, 0.0, current=True)) == 1


def test_change_of_activity_is_told_at_once_and_in_later_hellos() -> None:
    device = protocol()
    assert device.start_hello(None).activity == chat_pb2.ACTIVITY_FOREGROUND
    device.start_stream(chat_pb2.Welcome())
    assert frames_of(device, "heartbeat") == []
    device.set_activity(chat_pb2.ACTIVITY_BACKGROUND)
    [frame] = frames_of(device, "heartbeat")
    assert frame.heartbeat.activity == chat_pb2.ACTIVITY_BACKGROUND
    assert device.heartbeat_frame().heartbeat.activity == chat_pb2.ACTIVITY_BACKGROUND
    assert device.start_hello(None).activity == chat_pb2.ACTIVITY_BACKGROUND


def test_streams_of_a_program_are_numbered() -> None:
    device = protocol()
    hellos = [device.start_hello(None) for _ in range(3)]
    assert [hello.stream_number for hello in hellos] == [1, 2, 3]
    assert len({hello.instance_id for hello in hellos}) == 1
    assert protocol().start_hello(None).instance_id not in ("", hellos[0].instance_id)


def test_activity_that_changed_while_a_stream_was_opened_is_told_on_it() -> None:
    device = protocol()
    device.start_hello(None)
    device.set_activity(chat_pb2.ACTIVITY_BACKGROUND)
    device.start_stream(chat_pb2.Welcome())
    [frame] = frames_of(device, "heartbeat")
    assert frame.heartbeat.activity == chat_pb2.ACTIVITY_BACKGROUND

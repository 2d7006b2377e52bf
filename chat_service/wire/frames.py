"""Frames to a device, put together from parts that are serialised already; a busy stream carries many in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from chat_service.limits import Limits
from chat_service.model.conversation import Watermark
from chat_service.model.cursor import IndexReading
from chat_service.model.requests import Appended, AppendOutcome, Unchanged
from chat_service.wire.entries import to_timestamp
from chat_service.wire.tags import encode_bytes_field, encode_repeated_field
from parley.chat.v1 import chat_pb2
from servicekit.failure import Failure
from servicekit.status import to_proto

_FRAMES = chat_pb2.ConnectResponse.DESCRIPTOR.fields_by_name
ENTRIES: Final[int] = _FRAMES["entries"].number
RESULTS: Final[int] = _FRAMES["send_results"].number
WATERMARKS: Final[int] = _FRAMES["watermarks"].number
TYPING: Final[int] = _FRAMES["typing"].number
LISTED: Final[int] = chat_pb2.ListEntriesResponse.DESCRIPTOR.fields_by_name["entries"].number
# The repeated field of each of these frames.
ELEMENT: Final = 1
RANGES: Final[int] = chat_pb2.Entries.DESCRIPTOR.fields_by_name["ranges"].number


def join_elements(kind: int, elements: Sequence[bytes]) -> bytes:
    """A frame of kind ENTRIES, RESULTS or WATERMARKS that carries all `elements`."""
    return encode_bytes_field(kind, encode_repeated_field(ELEMENT, elements))


def entries_frame(entries: Iterable[bytes], ranges: Iterable[chat_pb2.RangeResult]) -> bytes:
    """The frame with entries that were asked for, and what their ranges amount to."""
    return encode_bytes_field(ENTRIES, encode_entries(entries, ranges))


def encode_entries(entries: Iterable[bytes], ranges: Iterable[chat_pb2.RangeResult]) -> bytes:
    """An Entries; several, one after the other, are one with the elements of all."""
    return encode_repeated_field(ELEMENT, entries) + encode_repeated_field(
        RANGES, [each.SerializeToString() for each in ranges]
    )


def list_entries_response(entries: bytes) -> bytes:
    """A ListEntriesResponse with an Entries."""
    return encode_bytes_field(LISTED, entries)


def encode_send_result(conversation_id: str, client_message_id: str, answer: AppendOutcome) -> bytes:
    """A SendResult."""
    told = chat_pb2.SendResult(conversation_id=conversation_id, client_message_id=client_message_id)
    if isinstance(answer, Failure):
        told.refused.CopyFrom(to_proto(answer))
    else:
        told.appended.CopyFrom(encode_appended(answer))
    return told.SerializeToString()


def encode_appended(answer: Appended | Unchanged) -> chat_pb2.Appended:
    """Return an Appended; its seq is 0 if no entry was appended."""
    seq = answer.seq if isinstance(answer, Appended) else 0
    return chat_pb2.Appended(seq=seq, create_time=to_timestamp(answer.time_ms))


def encode_watermark(conversation_id: str, user_id: str, mark: Watermark) -> chat_pb2.Watermark:
    """A Watermark."""
    return chat_pb2.Watermark(
        conversation_id=conversation_id,
        user_id=user_id,
        delivered_seq=mark.delivered_seq,
        read_seq=mark.read_seq,
    )


def changes_frame(reading: IndexReading, page: Sequence[str], *, last: bool) -> bytes:
    """The frame with a page of Changes."""
    return _frame(changes=encode_changes(reading, page, last=last))


def encode_changes(reading: IndexReading, page: Sequence[str], *, last: bool) -> chat_pb2.Changes:
    """A page of Changes; only the last has the cursor."""
    told = chat_pb2.Changes(
        conversation_ids=page, resync=chat_pb2.Changes.Resync.ValueType(reading.resync), last_page=last
    )
    if last and reading.cursor:
        told.cursor.generation = reading.cursor.generation
        told.cursor.time_ms = reading.cursor.time_ms
    return told


def welcome_frame(session_id: str, home: str, limits: Limits, *, now_ms: int, expires_at: float) -> bytes:
    """The first frame of a stream."""
    return _frame(
        welcome=chat_pb2.Welcome(
            session_id=session_id,
            home=home,
            heartbeat_interval=Duration(seconds=limits.heartbeat_seconds),
            limits=chat_pb2.Limits(
                text_bytes=limits.text_bytes,
                custom_payload_bytes=limits.custom_payload_bytes,
                frame_bytes=limits.frame_bytes,
                group_members=limits.group_members,
                sends_per_second=limits.sends_per_second,
                sends_burst=limits.sends_burst,
                fetch_ranges=limits.fetch_ranges,
                range_entries=limits.range_entries,
            ),
            server_time=to_timestamp(now_ms),
            token_expire_time=to_timestamp(round(expires_at * 1000)),
        )
    )


def encode_typing(conversation_id: str, user_id: str, types: bool) -> bytes:
    """A Typing."""
    return chat_pb2.Typing(conversation_id=conversation_id, user_id=user_id, typing=types).SerializeToString()


def typing_frame(told: bytes) -> bytes:
    """The frame that carries a Typing."""
    return encode_bytes_field(TYPING, told)


def presence_frame(online: Mapping[str, bool]) -> bytes:
    """The frame that tells who is online, and who is not."""
    return _frame(presence=encode_presence(online))


def encode_presence(online: Mapping[str, bool]) -> chat_pb2.Presence:
    """A Presence."""
    users = [chat_pb2.UserPresence(user_id=user, online=there) for user, there in online.items()]
    return chat_pb2.Presence(users=users)


def watch_presence_response(online: Mapping[str, bool]) -> bytes:
    """The answer to a call that said whom to watch."""
    return chat_pb2.WatchPresenceResponse(presence=encode_presence(online)).SerializeToString()


def heartbeat_frame(now_ms: int) -> bytes:
    """The echo of a heartbeat."""
    return _frame(heartbeat=chat_pb2.HeartbeatResponse(server_time=to_timestamp(now_ms)))


def heartbeat_response(now_ms: int) -> bytes:
    """The answer to a heartbeat that came as a call."""
    return chat_pb2.HeartbeatResponse(server_time=to_timestamp(now_ms)).SerializeToString()


def reauthenticate_response(expires_at: float) -> bytes:
    """The answer to a token that came as a call."""
    return chat_pb2.ReauthenticateResponse(token_expire_time=to_timestamp(round(expires_at * 1000))).SerializeToString()


def error_frame(failure: Failure, *, final: bool) -> bytes:
    """What went wrong with a frame, or with the stream."""
    return _frame(error=chat_pb2.StreamError(status=to_proto(failure), final=final))


def drain_frame(delay: float, home: str) -> bytes:
    """The wish that the device opens another stream, after `delay` seconds."""
    wait = Duration()
    wait.FromMilliseconds(round(delay * 1000))
    return _frame(drain=chat_pb2.Drain(delay=wait, home=home))


def _frame(**kind: Message) -> bytes:
    return chat_pb2.ConnectResponse(**kind).SerializeToString()  # type: ignore[arg-type]

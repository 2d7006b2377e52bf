"""Frames to a device, built from serialised parts; one frame carries many elements on a busy stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from chat_service.limits import Limits
from chat_service.model.conversation import Watermark
from chat_service.model.cursor import IndexReading
from chat_service.model.requests import Appended, AppendOutcome, Unchanged
from chat_service.wire.entries import to_timestamp
from parley.chat.v1 import chat_pb2
from servicekit.durations import to_duration
from servicekit.failure import Failure
from servicekit.proto_fields import encode_bytes_field, encode_repeated_field
from servicekit.status import to_proto

# Field numbers.
_FRAMES = chat_pb2.ConnectResponse.DESCRIPTOR.fields_by_name
ENTRIES: Final[int] = _FRAMES["entries"].number
RESULTS: Final[int] = _FRAMES["send_results"].number
WATERMARKS: Final[int] = _FRAMES["watermarks"].number
PRESENCE: Final[int] = _FRAMES["presence"].number
TYPING: Final[int] = _FRAMES["typing"].number
LIST_ENTRIES_ENTRIES: Final[int] = chat_pb2.ListEntriesResponse.DESCRIPTOR.fields_by_name["entries"].number
# The repeated field of Entries, SendResults, Watermarks and Presence.
ELEMENT: Final = 1
RANGES: Final[int] = chat_pb2.Entries.DESCRIPTOR.fields_by_name["ranges"].number


def join_elements(kind: int, elements: Sequence[bytes]) -> bytes:
    """Return a frame of kind ENTRIES, RESULTS, WATERMARKS or PRESENCE with all `elements`."""
    return encode_bytes_field(kind, encode_repeated_field(ELEMENT, elements))


def entries_frame(entries: Iterable[bytes], ranges: Iterable[chat_pb2.RangeResult]) -> bytes:
    """Return the frame with fetched entries and the results of their ranges."""
    return encode_bytes_field(ENTRIES, encode_entries(entries, ranges))


def encode_entries(entries: Iterable[bytes], ranges: Iterable[chat_pb2.RangeResult]) -> bytes:
    """Return a serialised Entries. Concatenated, several are one Entries with the elements of all."""
    return encode_repeated_field(ELEMENT, entries) + encode_repeated_field(
        RANGES, [result.SerializeToString() for result in ranges]
    )


def list_entries_response(entries: bytes) -> bytes:
    """Return a serialised ListEntriesResponse with a serialised Entries."""
    return encode_bytes_field(LIST_ENTRIES_ENTRIES, entries)


def encode_send_result(conversation_id: str, client_message_id: str, outcome: AppendOutcome) -> bytes:
    """Return a serialised SendResult."""
    result = chat_pb2.SendResult(conversation_id=conversation_id, client_message_id=client_message_id)
    if isinstance(outcome, Failure):
        result.refused.CopyFrom(to_proto(outcome))
    else:
        result.appended.CopyFrom(encode_appended(outcome))
    return result.SerializeToString()


def encode_appended(outcome: Appended | Unchanged) -> chat_pb2.Appended:
    """Return an Appended; its seq is 0 if no entry was appended."""
    seq = outcome.seq if isinstance(outcome, Appended) else 0
    return chat_pb2.Appended(seq=seq, create_time=to_timestamp(outcome.time_ms))


def encode_watermark(
    conversation_id: str, user_id: str, watermark: Watermark, joined_seq: int = 0, left_seq: int = 0
) -> chat_pb2.Watermark:
    """Return a Watermark; one that rose is sent without the bounds of the membership."""
    return chat_pb2.Watermark(
        conversation_id=conversation_id,
        user_id=user_id,
        delivered_seq=watermark.delivered_seq,
        read_seq=watermark.read_seq,
        joined_seq=joined_seq,
        left_seq=left_seq,
    )


def changes_frame(reading: IndexReading, page: Sequence[str], *, last: bool) -> bytes:
    """Return the frame with a page of Changes."""
    return _frame(changes=encode_changes(reading, page, last=last))


def encode_changes(reading: IndexReading, page: Sequence[str], *, last: bool) -> chat_pb2.Changes:
    """Return a page of Changes; only the last page has the cursor."""
    changes = chat_pb2.Changes(
        conversation_ids=page, resync=chat_pb2.Changes.Resync.ValueType(reading.resync), last_page=last
    )
    if last and reading.cursor:
        changes.cursor.generation = reading.cursor.generation
        changes.cursor.time_ms = reading.cursor.time_ms
    return changes


def welcome_frame(session_id: str, home: str, limits: Limits, *, now_ms: int, expires_at: float) -> bytes:
    """Return the first frame of a stream. `expires_at` is the expiry of its token, in seconds since 1970."""
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
                media_upload_bytes=limits.media_upload_bytes,
                media_file_bytes=limits.media_file_bytes,
                media_types=limits.media_types,
            ),
            server_time=to_timestamp(now_ms),
            token_expire_time=to_timestamp(round(expires_at * 1000)),
            background_heartbeat_interval=Duration(seconds=limits.background_heartbeat_seconds),
        )
    )


def encode_typing(conversation_id: str, user_id: str, typing: bool) -> bytes:
    """Return a serialised Typing."""
    return chat_pb2.Typing(conversation_id=conversation_id, user_id=user_id, typing=typing).SerializeToString()


def typing_frame(typing: bytes) -> bytes:
    """Return the frame with a serialised Typing."""
    return encode_bytes_field(TYPING, typing)


def watch_presence_response(presence: chat_pb2.Presence) -> bytes:
    """Return the serialised response to a WatchPresence call."""
    return chat_pb2.WatchPresenceResponse(presence=presence).SerializeToString()


def heartbeat_frame(now_ms: int) -> bytes:
    """Return the frame that answers a heartbeat."""
    return _frame(heartbeat=chat_pb2.HeartbeatResponse(server_time=to_timestamp(now_ms)))


def heartbeat_response(now_ms: int) -> bytes:
    """Return the serialised response to a Heartbeat call."""
    return chat_pb2.HeartbeatResponse(server_time=to_timestamp(now_ms)).SerializeToString()


def reauthenticate_response(expires_at: float) -> bytes:
    """Return the serialised response to a Reauthenticate call; `expires_at` is in seconds since 1970."""
    return chat_pb2.ReauthenticateResponse(token_expire_time=to_timestamp(round(expires_at * 1000))).SerializeToString()


def error_frame(failure: Failure, *, final: bool) -> bytes:
    """Return the frame that reports a failure: of one frame, or of the stream if `final`."""
    return _frame(error=chat_pb2.StreamError(status=to_proto(failure), final=final))


def final_error_frame(failure: Failure) -> bytes:
    """Return the last frame of a stream that ends with a failure."""
    return error_frame(failure, final=True)


def drain_frame(delay: float, home: str) -> bytes:
    """Return the frame that asks the device to open another stream after `delay` seconds."""
    return _frame(drain=chat_pb2.Drain(delay=to_duration(delay), home=home))


def _frame(**kind: Message) -> bytes:
    return chat_pb2.ConnectResponse(**kind).SerializeToString()  # type: ignore[arg-type]

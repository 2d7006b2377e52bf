"""Fetched ranges of logs on the wire, in frames of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator

from chat_service.history.history import FetchedRange, RangeRequest
from chat_service.wire import frames
from chat_service.wire.entries import encode_for_viewer, to_timestamp
from parley.chat.v1 import chat_pb2
from servicekit.failure import Failure
from servicekit.status import to_proto


def split_range(found: FetchedRange, viewer: str, max_frame_bytes: int) -> Iterator[bytes]:
    """Yield the frames of a range; the last has its result.

    A frame is complete once its entries exceed `max_frame_bytes`, so it exceeds them by less than one entry.
    """
    batch, size = list[bytes](), 0
    for entry in found.entries:
        batch.append(encode_for_viewer(entry, viewer))
        size += len(batch[-1])
        if size > max_frame_bytes:
            yield frames.entries_frame(batch, ())
            batch, size = [], 0
    yield frames.entries_frame(batch, [_result(found)])


def encode_range(found: FetchedRange, viewer: str) -> bytes:
    """Return a range as a serialised Entries."""
    return frames.encode_entries([encode_for_viewer(entry, viewer) for entry in found.entries], [_result(found)])


def encode_refused_range(request: RangeRequest, failure: Failure) -> bytes:
    """Return a serialised Entries with the failure of a range."""
    return frames.encode_entries((), [refused_range(request, failure)])


def refused_range(request: RangeRequest, failure: Failure) -> chat_pb2.RangeResult:
    """Return the result of a range that cannot be read."""
    return chat_pb2.RangeResult(
        conversation_id=request.conversation_id, after_seq=request.after_seq, status=to_proto(failure)
    )


def _result(found: FetchedRange) -> chat_pb2.RangeResult:
    conversation, personal = found.visible.conversation, found.visible.settings
    return chat_pb2.RangeResult(
        conversation_id=conversation.conversation_id,
        after_seq=found.request.after_seq,
        head_seq=found.head_seq,
        first_seq=conversation.first_seq,
        expired_seq=conversation.expired_seq,
        complete=found.complete,
        watermarks=[
            frames.encode_watermark(
                conversation.conversation_id, each.user_id, each.watermark, each.joined_seq, each.left_seq
            )
            for each in found.visible.list_watermarks()
        ],
        unread_count=found.unread_count,
        settings=chat_pb2.PersonalSettings(
            mute_until_time=to_timestamp(personal.mute_until_ms) if personal.mute_until_ms else None,
            pinned=personal.pinned,
            archived=personal.archived,
        ),
        hidden_seqs=personal.hidden,
    )

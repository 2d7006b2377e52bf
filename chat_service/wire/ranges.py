"""Ranges of logs on the wire, in frames of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator

from chat_service.history.history import FetchedRange, RangeRequest
from chat_service.wire import frames
from chat_service.wire.entries import encode_for_viewer, to_timestamp
from parley.chat.v1 import chat_pb2
from servicekit.failure import Failure
from servicekit.status import to_proto


def split_range(found: FetchedRange, viewer: str, max_frame_bytes: int) -> Iterator[bytes]:
    """The frames that carry a range; the last tells what it amounts to."""
    waiting, size = list[bytes](), 0
    for entry in found.entries:
        waiting.append(encode_for_viewer(entry, viewer))
        size += len(waiting[-1])
        if size > max_frame_bytes:
            yield frames.entries_frame(waiting, ())
            waiting, size = [], 0
    yield frames.entries_frame(waiting, [_result(found)])


def encode_range(found: FetchedRange, viewer: str) -> bytes:
    """A range as an Entries."""
    return frames.encode_entries([encode_for_viewer(entry, viewer) for entry in found.entries], [_result(found)])


def encode_refused_range(span: RangeRequest, failure: Failure) -> bytes:
    """Why a range is not told, as an Entries."""
    return frames.encode_entries((), [refused_range(span, failure)])


def refused_range(span: RangeRequest, failure: Failure) -> chat_pb2.RangeResult:
    """Why a range is not told."""
    return chat_pb2.RangeResult(
        conversation_id=span.conversation_id, after_seq=span.after_seq, status=to_proto(failure)
    )


def _result(found: FetchedRange) -> chat_pb2.RangeResult:
    conversation, personal = found.visible.conversation, found.visible.settings
    return chat_pb2.RangeResult(
        conversation_id=conversation.conversation_id,
        after_seq=found.request.after_seq,
        head_seq=found.head_seq,
        first_seq=conversation.first_seq,
        complete=found.complete,
        watermarks=[
            frames.encode_watermark(conversation.conversation_id, user, member.watermark)
            for user, member in conversation.members.items()
        ],
        unread_count=found.unread_count,
        settings=chat_pb2.PersonalSettings(
            mute_until_time=to_timestamp(personal.mute_until_ms) if personal.mute_until_ms else None,
            pinned=personal.pinned,
            archived=personal.archived,
        ),
        hidden_seqs=personal.hidden,
    )

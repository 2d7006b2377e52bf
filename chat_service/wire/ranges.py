"""Ranges of logs on the wire, in frames of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator

from chat_service.history.history import Range, Span
from chat_service.wire import frames
from chat_service.wire.entries import shown, timestamp
from parley.chat.v1 import chat_pb2
from servicekit.failure import Failure
from servicekit.status import to_proto


def parts(found: Range, viewer: str, most_bytes: int) -> Iterator[bytes]:
    """The frames that carry a range; the last tells what it amounts to."""
    waiting, size = list[bytes](), 0
    for entry in found.entries:
        waiting.append(shown(entry, viewer))
        size += len(waiting[-1])
        if size > most_bytes:
            yield frames.fetched(waiting, ())
            waiting, size = [], 0
    yield frames.fetched(waiting, [_result(found)])


def whole(found: Range, viewer: str) -> bytes:
    """A range as an Entries."""
    return frames.told_entries([shown(entry, viewer) for entry in found.entries], [_result(found)])


def refusal(span: Span, failure: Failure) -> bytes:
    """Why a range is not told, as an Entries."""
    return frames.told_entries((), [refused(span, failure)])


def refused(span: Span, failure: Failure) -> chat_pb2.RangeResult:
    """Why a range is not told."""
    return chat_pb2.RangeResult(
        conversation_id=span.conversation_id, after_seq=span.after_seq, status=to_proto(failure)
    )


def _result(found: Range) -> chat_pb2.RangeResult:
    conversation, personal = found.sight.conversation, found.sight.personal
    return chat_pb2.RangeResult(
        conversation_id=conversation.conversation_id,
        after_seq=found.span.after_seq,
        head_seq=found.head_seq,
        first_seq=conversation.first_seq,
        complete=found.complete,
        watermarks=[
            frames.watermark(conversation.conversation_id, user, member.watermark)
            for user, member in conversation.members.items()
        ],
        unread_count=found.unread_count,
        settings=chat_pb2.PersonalSettings(
            mute_until_time=timestamp(personal.mute_until_ms) if personal.mute_until_ms else None,
            pinned=personal.pinned,
            archived=personal.archived,
        ),
        hidden_seqs=personal.hidden,
    )

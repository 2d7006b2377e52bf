"""Requests of a device: parsed, checked against the rules of the protos and the limits, and decoded for the domain."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from chat_service.errors import MessageIdExpired, MessageIdFromFuture, MessageIdInvalid
from chat_service.limits import Limits
from chat_service.model.cursor import Cursor
from chat_service.model.entry import NO_REFERENCES, Change, Draft, Message, References
from chat_service.model.ids import uuid7_time_ms
from chat_service.wire.contents import decode_references, encode_content
from parley.chat.v1 import chat_pb2
from servicekit import validation
from servicekit.errors import FrameEmpty, FrameTooLarge

# Bounds on the time in a request id: repeats are recognised for 30 days; clocks of devices may be ahead.
MAX_ID_AGE_MS: Final = 30 * 24 * 3600 * 1000
MAX_ID_SKEW_MS: Final = 10 * 60 * 1000


def decode_frame(data: bytes) -> tuple[str, chat_pb2.ConnectRequest]:
    """Return the kind of a frame, and the frame.

    Raise Failure with reason FRAME_UNPARSABLE, or FrameEmpty; both end a stream.
    """
    parsed = validation.parse(chat_pb2.ConnectRequest, data)
    kind = parsed.WhichOneof("frame")
    if kind is None:
        raise FrameEmpty("the frame is empty or of a kind this server does not know")
    return kind, parsed


def check_frame(data: bytes, parsed: chat_pb2.ConnectRequest, limits: Limits) -> None:
    """Raise FrameTooLarge, or FieldInvalid with all violations; neither ends the stream."""
    if len(data) > limits.frame_bytes:
        raise FrameTooLarge(f"a frame has at most {limits.frame_bytes} bytes, this one has {len(data)}")
    validation.check(parsed)


def decode_send(
    request: chat_pb2.SendMessageRequest, actor_id: str, limits: Limits, now_ms: int, traceparent: str
) -> Draft:
    """Return the draft of a message; `request` has passed the rules of the protos. Raise Invalid."""
    return make_draft(
        request.conversation_id,
        actor_id,
        request.client_message_id,
        Message(encode_content(request.content, limits, "send_message.content")),
        now_ms,
        traceparent=traceparent,
        references=decode_references(request.content),
    )


def make_draft(
    conversation_id: str,
    actor_id: str,
    request_id: str,
    change: Change,
    now_ms: int,
    *,
    traceparent: str = "",
    references: References = NO_REFERENCES,
) -> Draft:
    """Return the draft of an entry. Raise Invalid if `request_id` is no UUIDv7 in lower case or out of its bounds."""
    identifier = UUID(request_id)
    if str(identifier) != request_id:
        # The id is stored as 16 bytes and returned in lower case: a device would not recognise an id in capitals.
        raise MessageIdInvalid("the id must be a UUIDv7 in lower case")
    made_ms = check_id_time(identifier, now_ms)
    return Draft(conversation_id, actor_id, identifier.bytes, change, made_ms, traceparent, references=references)


def check_id_time(request_id: UUID, now_ms: int) -> int:
    """Return the time in a UUIDv7, in milliseconds since 1970.

    Raise Invalid if the id is no UUIDv7, or its time is more than 30 days ago or more than 10 minutes ahead.
    """
    made_ms = uuid7_time_ms(request_id)
    if made_ms is None:
        raise MessageIdInvalid("the id must be a UUIDv7")
    if made_ms < now_ms - MAX_ID_AGE_MS:
        raise MessageIdExpired("the time in the id is more than 30 days ago; send again with a new id")
    if made_ms > now_ms + MAX_ID_SKEW_MS:
        raise MessageIdFromFuture(
            "the time in the id is more than 10 minutes ahead; set the clock by welcome.server_time"
        )
    return made_ms


def decode_cursor(request: chat_pb2.Hello | chat_pb2.ListChangesRequest) -> Cursor | None:
    """Return the cursor of a device; None if the request has none."""
    if not request.HasField("cursor"):
        return None
    return Cursor(request.cursor.generation, request.cursor.time_ms)

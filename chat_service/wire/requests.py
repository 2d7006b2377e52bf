"""Frames from a device: parsed, checked by the contract's rules and the limits, and put into the domain's words."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from chat_service.errors import (
    ContentTooLarge,
    FrameEmpty,
    FrameTooLarge,
    MessageIdExpired,
    MessageIdFromFuture,
    MessageIdInvalid,
)
from chat_service.limits import Limits
from chat_service.model.cursor import Cursor
from chat_service.model.entry import Change, Draft, Message
from chat_service.model.ids import uuid7_time_ms
from parley.chat.v1 import chat_pb2, entry_pb2
from servicekit import validation

MAX_ID_AGE_MS: Final = 30 * 24 * 3600 * 1000
MAX_ID_SKEW_MS: Final = 10 * 60 * 1000


def decode_frame(data: bytes) -> tuple[str, chat_pb2.ConnectRequest]:
    """The kind of a frame, and the frame. Raises Failure FRAME_UNPARSABLE and FrameEmpty, which end a stream."""
    parsed = validation.parse(chat_pb2.ConnectRequest, data)
    kind = parsed.WhichOneof("frame")
    if kind is None:
        raise FrameEmpty("a frame with nothing in it, or of a kind this server does not know")
    return kind, parsed


def check_frame(data: bytes, parsed: chat_pb2.ConnectRequest, limits: Limits) -> None:
    """Raises FrameTooLarge, or FieldInvalid with every violation; the stream stays."""
    if len(data) > limits.frame_bytes:
        raise FrameTooLarge(f"a frame may have {limits.frame_bytes} bytes, this one has {len(data)}")
    validation.check(parsed)


def decode_send(
    request: chat_pb2.SendMessageRequest, actor_id: str, limits: Limits, now_ms: int, traceparent: str
) -> Draft:
    """What a send wants appended; `request` keeps the contract's rules. Raises Invalid."""
    change = Message(encode_content(request.content, limits))
    return make_draft(
        request.conversation_id, actor_id, request.client_message_id, change, now_ms, traceparent=traceparent
    )


def make_draft(
    conversation_id: str, actor_id: str, request_id: str, change: Change, now_ms: int, *, traceparent: str = ""
) -> Draft:
    """What a request wants appended. Raises Invalid."""
    identifier = UUID(request_id)
    if str(identifier) != request_id:
        # It is kept as 16 bytes: in capitals the device would not know its answer by it.
        raise MessageIdInvalid("the id must be a UUIDv7 in lower case")
    made_ms = check_id_time(identifier, now_ms)
    return Draft(conversation_id, actor_id, identifier.bytes, change, made_ms, traceparent)


def encode_content(said: entry_pb2.Content, limits: Limits) -> bytes:
    """A Content as it is kept and passed on. Raises ContentTooLarge."""
    # What this version does not know it cannot bound, nor show to anybody.
    said.DiscardUnknownFields()
    _check_size(said, limits)
    return said.SerializeToString(deterministic=True)


def check_id_time(request_id: UUID, now_ms: int) -> int:
    """When an id was made, in milliseconds since 1970. Raises Invalid unless it can be told apart for 30 days."""
    made_ms = uuid7_time_ms(request_id)
    if made_ms is None:
        raise MessageIdInvalid("the id must be a UUIDv7")
    if made_ms < now_ms - MAX_ID_AGE_MS:
        raise MessageIdExpired("this id was made more than 30 days ago; send under a new one")
    if made_ms > now_ms + MAX_ID_SKEW_MS:
        raise MessageIdFromFuture("this id was made more than 10 minutes from now; welcome.server_time tells the time")
    return made_ms


def decode_cursor(hello: chat_pb2.Hello) -> Cursor | None:
    """Where the device stood."""
    if not hello.HasField("cursor"):
        return None
    return Cursor(hello.cursor.generation, hello.cursor.time_ms)


def _check_size(content: entry_pb2.Content, limits: Limits) -> None:
    kind = content.WhichOneof("body")
    if kind == "text":
        size, most = len(content.text.body.encode()), limits.text_bytes
    elif kind == "custom":
        size, most = len(content.custom.payload), limits.custom_payload_bytes
    else:
        return
    if size > most:
        raise ContentTooLarge(f"{kind} may have {most} bytes, this one has {size}")

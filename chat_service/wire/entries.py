"""Entries on the wire: an entry is serialised once, and all devices receive the same bytes."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chat_service.model import words
from chat_service.model.delivery import DeliveredEntry
from chat_service.model.entry import Entry
from chat_service.wire import changes
from parley.chat.v1 import entry_pb2
from servicekit.proto_fields import encode_bytes_field

CLIENT_MESSAGE_ID: Final[int] = entry_pb2.Entry.DESCRIPTOR.fields_by_name["client_message_id"].number
TRACEPARENT: Final[int] = entry_pb2.Entry.DESCRIPTOR.fields_by_name["traceparent"].number


def encode_delivery(entry: Entry) -> DeliveredEntry:
    """Return an entry for the devices of the members."""
    return DeliveredEntry(encode_entry(entry), entry.actor_id, entry.request_id)


def encode_entry(entry: Entry) -> bytes:
    """Return a serialised Entry without `client_message_id`."""
    header = entry_pb2.Entry(
        conversation_id=entry.conversation_id,
        seq=entry.seq,
        message_number=entry.message_number,
        create_time=to_timestamp(entry.time_ms),
        actor_id=entry.actor_id,
    )
    return header.SerializeToString() + changes.encode_change(entry.change)


def with_request_id(entry: bytes, request_id: bytes) -> bytes:
    """Return the Entry for the devices of its actor: with `client_message_id`."""
    return entry + encode_bytes_field(CLIENT_MESSAGE_ID, str(UUID(bytes=request_id)).encode())


def with_traceparent(entry: bytes, traceparent: str) -> bytes:
    """Return the Entry for a device to which it is delivered within a trace."""
    return entry + encode_bytes_field(TRACEPARENT, traceparent.encode())


def encode_for_viewer(entry: Entry, viewer: str) -> bytes:
    """Return the serialised Entry for the devices of `viewer`."""
    encoded = encode_entry(entry)
    return with_request_id(encoded, entry.request_id) if viewer == entry.actor_id else encoded


def entry_to_proto(entry: Entry, viewer: str) -> entry_pb2.Entry:
    """Return the Entry for the devices of `viewer`."""
    return entry_pb2.Entry.FromString(encode_for_viewer(entry, viewer))


def to_timestamp(time_ms: int) -> Timestamp:
    """Return a time in milliseconds since 1970 as a Timestamp."""
    return Timestamp(seconds=time_ms // 1000, nanos=time_ms % 1000 * 1_000_000)


def extract_words(content: bytes) -> list[str]:
    """Return the distinct words of a serialised Content: of its text, caption, location name or contact name."""
    return words.extract_words(_text(entry_pb2.Content.FromString(content)))


def extract_media(content: bytes) -> str:
    """Return the id of the media that a serialised Content refers to; empty if it refers to none."""
    return entry_pb2.Content.FromString(content).media.media_id


def _text(content: entry_pb2.Content) -> str:
    kind = content.WhichOneof("body")
    if kind == "text":
        return content.text.body
    if kind == "media":
        return content.media.caption
    if kind == "location":
        return content.location.name
    return content.contact_card.display_name if kind == "contact_card" else ""

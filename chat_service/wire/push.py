"""Events of the queue of pushes, made of deliveries whose entries stay serialised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chat_service.model.delivery import Delivery
from chat_service.wire.entries import to_timestamp
from parley.chat.v1.chat_pb2 import Watermark
from parley.chat.v1.entry_pb2 import Entry
from parley.internal.v1.notify_pb2 import QueuedEntries, QueuedPush, QueuedRead
from servicekit.proto_fields import encode_bytes_field, encode_repeated_field

# Larger entries are queued without the content that no notification shows: Redis and the notify service keep them for
# as long as a provider does not answer, and once more for each device.
_WHOLE_BYTES: Final = 2048
# In code points. A notification shows less.
_MAX_TEXT: Final = 500

_ENTRIES: Final[int] = QueuedPush.DESCRIPTOR.fields_by_name["entries"].number
_ENTRY: Final[int] = QueuedEntries.DESCRIPTOR.fields_by_name["entries"].number


def newest_entry(delivery: Delivery, user_id: str = "") -> tuple[str, int]:
    """Return the conversation of a delivery, and the seq of its newest entry, with `user_id` of that by another user.

    There must be such an entry.
    """
    newest = next(each for each in reversed(delivery.entries) if each.actor_id != user_id)
    entry = Entry.FromString(newest.entry)
    return entry.conversation_id, entry.seq


def oldest_entry(delivery: Delivery) -> tuple[str, int]:
    """Return the conversation of a delivery, and the seq of its oldest entry. There must be an entry."""
    entry = Entry.FromString(delivery.entries[0].entry)
    return entry.conversation_id, entry.seq


def encode_entries(user_ids: Sequence[str], conversation_id: str, delivery: Delivery, now_ms: int) -> bytes:
    """Return the event with the entries of a delivery for users who are away."""
    entries = QueuedEntries(conversation_id=conversation_id, user_ids=user_ids).SerializeToString()
    entries += encode_repeated_field(_ENTRY, [_shorten(each.entry) for each in delivery.entries])
    queued = QueuedPush(queue_time=to_timestamp(now_ms)).SerializeToString()
    return queued + encode_bytes_field(_ENTRIES, entries)


def _shorten(entry: bytes) -> bytes:
    """Return a serialised entry, a large one without the content that no notification shows."""
    if len(entry) <= _WHOLE_BYTES:
        return entry
    short = Entry.FromString(entry)
    if short.HasField("message_edited"):
        short.message_edited.ClearField("content")
    content = short.message_appended.content
    match content.WhichOneof("body"):
        case "text":
            # Shown with its white space collapsed. A text is never empty.
            body = content.text.body
            content.text.body = " ".join(body.split())[:_MAX_TEXT] or body[:1]
        case "custom":
            content.custom.ClearField("payload")
        case "contact_card":
            content.contact_card.ClearField("vcard")
    return short.SerializeToString()


def encode_read(user_id: str, conversation_id: str, read_seq: int, now_ms: int) -> bytes:
    """Return the event that a user has read a conversation up to `read_seq`."""
    read = QueuedRead(user_id=user_id, conversation_id=conversation_id, read_seq=read_seq)
    return QueuedPush(queue_time=to_timestamp(now_ms), read=read).SerializeToString()


def decode_watermark(watermark: bytes) -> Watermark:
    """Return a serialised watermark."""
    return Watermark.FromString(watermark)

"""Entries on the wire: each is serialised once and goes to everybody as the same bytes."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chat_service.model.delivery import DeliveredEntry
from chat_service.model.entry import Entry, MembershipChanged, Message
from chat_service.wire.tags import tagged
from parley.chat.v1 import entry_pb2

_FIELDS = entry_pb2.Entry.DESCRIPTOR.fields_by_name
CLIENT_MESSAGE_ID: Final[int] = _FIELDS["client_message_id"].number
MESSAGE: Final[int] = _FIELDS["message_appended"].number
CONTENT: Final[int] = entry_pb2.MessageAppended.DESCRIPTOR.fields_by_name["content"].number


def delivered(entry: Entry) -> DeliveredEntry:
    """An entry on its way to devices."""
    return DeliveredEntry(serialised(entry), entry.actor_id, entry.request_id)


def serialised(entry: Entry) -> bytes:
    """An Entry without `client_message_id`."""
    head = entry_pb2.Entry(
        conversation_id=entry.conversation_id,
        seq=entry.seq,
        message_number=entry.message_number,
        create_time=timestamp(entry.time_ms),
        actor_id=entry.actor_id,
    )
    change = entry.change
    if isinstance(change, Message):
        # The content stays as its sender wrote it: the rest of the entry is put around it.
        return head.SerializeToString() + tagged(MESSAGE, tagged(CONTENT, change.content))
    if isinstance(change, MembershipChanged):
        head.membership_changed.kind = entry_pb2.MembershipChanged.Kind.ValueType(change.kind)
        for user, role in change.members:
            head.membership_changed.members.add(user_id=user, role=entry_pb2.Role.ValueType(role))
    else:
        head.conversation_updated.title = change.title
    return head.SerializeToString()


def with_request_id(entry: bytes, request_id: bytes) -> bytes:
    """An Entry as the devices of its actor see it."""
    return entry + tagged(CLIENT_MESSAGE_ID, str(UUID(bytes=request_id)).encode())


def shown(entry: Entry, viewer: str) -> bytes:
    """An Entry as the devices of `viewer` see it."""
    plain = serialised(entry)
    return with_request_id(plain, entry.request_id) if viewer == entry.actor_id else plain


def timestamp(time_ms: int) -> Timestamp:
    """Milliseconds since 1970 as a Timestamp."""
    return Timestamp(seconds=time_ms // 1000, nanos=time_ms % 1000 * 1_000_000)

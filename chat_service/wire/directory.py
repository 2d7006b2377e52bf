"""The answers of the directory on the wire."""

from __future__ import annotations

from collections.abc import Iterable

from chat_service.directory.notifications import NotificationContext, Recipient
from chat_service.directory.relations import Relation
from chat_service.model.conversation import Interval
from chat_service.model.delivery import Foreground
from chat_service.model.entry import LAST_SEQ
from chat_service.wire.entries import to_timestamp
from parley.internal.v1 import directory_pb2


def encode_interval(interval: Interval) -> directory_pb2.SeqInterval:
    """Return an interval of a log; the last one of a present member is open."""
    return directory_pb2.SeqInterval(
        first_seq=interval.first, last_seq=interval.last if interval.last < LAST_SEQ else 0
    )


def encode_relations(relations: Iterable[Relation]) -> directory_pb2.GetRelationsResponse:
    """Return the relations of a user to other users."""
    return directory_pb2.GetRelationsResponse(relations=map(_encode_relation, relations))


def _encode_relation(relation: Relation) -> directory_pb2.Relation:
    return directory_pb2.Relation(
        other_user_id=relation.other_id,
        acquainted=relation.acquainted,
        acquainted_by=relation.acquainted_by,
        blocks=relation.blocks,
        blocked_by=relation.blocked_by,
    )


def encode_context(context: NotificationContext) -> directory_pb2.DescribeConversationResponse:
    """Return the context of a notification; without form and title if the conversation does not exist."""
    conversation = context.conversation
    return directory_pb2.DescribeConversationResponse(
        form=directory_pb2.ConversationForm.ValueType(conversation.kind if conversation else 0),
        title=conversation.title if conversation else "",
        sender_name=context.sender_name,
        recipients=map(_encode_recipient, context.recipients),
        target_author_ids=context.target_authors,
        deleted_seqs=context.deleted_seqs,
    )


def encode_foreground(foreground: Foreground) -> directory_pb2.DescribeForegroundResponse:
    """Return the devices of a user in the foreground, and the last entry that was not pushed because of one."""
    response = directory_pb2.DescribeForegroundResponse(device_ids=foreground.device_ids)
    if (entry := foreground.last_entry) is not None:
        response.last_entry.conversation_id, response.last_entry.seq = entry.conversation_id, entry.seq
        response.last_entry.deliver_time.CopyFrom(to_timestamp(entry.time_ms))
    return response


def _encode_recipient(recipient: Recipient) -> directory_pb2.Recipient:
    return directory_pb2.Recipient(
        user_id=recipient.user_id,
        member=recipient.member,
        mute_end_time=to_timestamp(recipient.mute_end_ms) if recipient.mute_end_ms else None,
        read_seq=recipient.read_seq,
        unread_count=recipient.unread_count,
        badge_count=recipient.badge_count,
        blocks_sender=recipient.blocks_sender,
    )

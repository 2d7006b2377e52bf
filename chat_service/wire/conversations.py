"""Conversations on the wire, as a user sees them."""

from __future__ import annotations

from chat_service.history.history import ConversationSummary
from chat_service.model.conversation import Watermark
from chat_service.wire.changes import encode_retention
from chat_service.wire.entries import entry_to_proto, to_timestamp
from parley.chat.v1 import conversation_pb2, entry_pb2


def encode_conversation(summary: ConversationSummary, viewer: str) -> conversation_pb2.Conversation:
    """Return a conversation with its members, its newest entry, and the watermarks and settings of `viewer`."""
    visible = summary.visible
    conversation, personal, member = visible.conversation, visible.settings, visible.member
    mark = member.watermark if member else Watermark()
    return conversation_pb2.Conversation(
        conversation_id=conversation.conversation_id,
        kind=conversation_pb2.ConversationKind.ValueType(conversation.kind),
        title=conversation.title,
        picture_media_id=conversation.picture_media_id,
        members=[
            entry_pb2.Member(user_id=user, role=entry_pb2.Role.ValueType(member.role))
            for user, member in conversation.members.items()
        ],
        create_time=to_timestamp(conversation.create_ms),
        head_seq=summary.head_seq,
        first_seq=conversation.first_seq,
        expired_seq=conversation.expired_seq,
        head=entry_to_proto(summary.head, viewer) if summary.head else None,
        unread_count=summary.unread_count,
        read_seq=mark.read_seq,
        delivered_seq=mark.delivered_seq,
        mute_until_time=to_timestamp(personal.mute_until_ms) if personal.mute_until_ms else None,
        pinned=personal.pinned,
        archived=personal.archived,
        retention=encode_retention(conversation.retention) if conversation.retention.rule else None,
        admins_only_send=conversation.admins_only_send,
    )

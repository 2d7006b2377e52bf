"""Conversations on the wire, as their caller sees them."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from chat_service.errors import PageTokenInvalid
from chat_service.history.history import ConversationSummary
from chat_service.model.conversation import Watermark
from chat_service.wire.changes import encode_retention
from chat_service.wire.entries import encode_for_viewer, to_timestamp
from parley.chat.v1 import conversation_pb2, entry_pb2

# The places that page tokens lead to.
ID_PATTERN: Final = re.compile(r"[0-9a-f]{32}")
SEQ_PATTERN: Final = re.compile(r"[1-9][0-9]{0,17}")


def encode_conversation(overview: ConversationSummary, viewer: str) -> conversation_pb2.Conversation:
    """A conversation with its members, its newest entry and the caller's watermarks."""
    domain, personal, member = overview.visible.conversation, overview.visible.settings, overview.visible.member
    mark = member.watermark if member else Watermark()
    return conversation_pb2.Conversation(
        conversation_id=domain.conversation_id,
        kind=conversation_pb2.ConversationKind.ValueType(domain.kind),
        title=domain.title,
        picture_media_id=domain.picture_media_id,
        members=[
            entry_pb2.Member(user_id=user, role=entry_pb2.Role.ValueType(member.role))
            for user, member in domain.members.items()
        ],
        create_time=to_timestamp(domain.create_ms),
        head_seq=overview.head_seq,
        first_seq=domain.first_seq,
        head=entry_pb2.Entry.FromString(encode_for_viewer(overview.head, viewer)) if overview.head else None,
        unread_count=overview.unread_count,
        read_seq=mark.read_seq,
        delivered_seq=mark.delivered_seq,
        mute_until_time=to_timestamp(personal.mute_until_ms) if personal.mute_until_ms else None,
        pinned=personal.pinned,
        archived=personal.archived,
        retention=encode_retention(domain.retention) if domain.retention.rule else None,
        admins_only_send=domain.admins_only_send,
    )


def encode_page_token(kind: str, place: str) -> str:
    """A token that leads to what comes after `place`; `kind` tells whose token it is."""
    return urlsafe_b64encode(f"{kind}:{place}".encode()).decode().rstrip("=")


def decode_page_token(kind: str, token: str, form: re.Pattern[str]) -> str:
    """The place of a token, which has this form; empty for the first page. Raises PageTokenInvalid."""
    if not token:
        return ""
    try:
        mark, _, place = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().partition(":")
    except ValueError:
        mark, place = "", ""
    if mark != kind or not form.fullmatch(place):
        raise PageTokenInvalid("this page token was not made here")
    return place

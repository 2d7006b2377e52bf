"""The change of an entry on the wire: the field of the oneof `kind` of an Entry."""

from __future__ import annotations

from functools import singledispatch
from operator import itemgetter
from typing import Final

from google.protobuf.duration_pb2 import Duration

from chat_service.model.entry import (
    Change,
    ConversationUpdated,
    MembershipChanged,
    MembershipKind,
    Message,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
    Role,
)
from chat_service.model.retention import Retention, RetentionRule
from parley.chat.v1 import entry_pb2
from servicekit.proto_fields import encode_bytes_field

# Field numbers.
_FIELDS = entry_pb2.Entry.DESCRIPTOR.fields_by_name
MESSAGE_APPENDED: Final[int] = _FIELDS["message_appended"].number
MESSAGE_EDITED: Final[int] = _FIELDS["message_edited"].number
APPENDED_CONTENT: Final[int] = entry_pb2.MessageAppended.DESCRIPTOR.fields_by_name["content"].number
EDITED_CONTENT: Final[int] = entry_pb2.MessageEdited.DESCRIPTOR.fields_by_name["content"].number


def encode_change(change: Change) -> bytes:
    """Return the serialised field of an Entry that holds `change`.

    The bytes of a content are embedded as they are, not parsed and serialised again.
    """
    if isinstance(change, Message):
        return encode_bytes_field(MESSAGE_APPENDED, _content(APPENDED_CONTENT, change.content) + _state(change))
    if isinstance(change, MessageEdited):
        edited = entry_pb2.MessageEdited(target_seq=change.target_seq)
        return encode_bytes_field(MESSAGE_EDITED, edited.SerializeToString() + _content(EDITED_CONTENT, change.content))
    return _entry(change).SerializeToString()


def _content(field: int, content: bytes) -> bytes:
    return encode_bytes_field(field, content) if content else b""


def _state(message: Message) -> bytes:
    """Return the fields of a MessageAppended that edits, a deletion and reactions set; empty without any."""
    if not message.edit_seq and not message.delete_seq and not message.reactions:
        return b""
    return entry_pb2.MessageAppended(
        edit_seq=message.edit_seq,
        delete_seq=message.delete_seq,
        reactions=[
            entry_pb2.Reaction(user_id=user, emoji=reaction.emoji)
            for user, reaction in sorted((message.reactions or {}).items(), key=itemgetter(0))
        ],
    ).SerializeToString()


@singledispatch
def _entry(change: object) -> entry_pb2.Entry:
    raise TypeError(f"unknown kind of change: {change!r}")


@_entry.register
def _(change: MessageDeleted) -> entry_pb2.Entry:
    return entry_pb2.Entry(message_deleted=entry_pb2.MessageDeleted(target_seq=change.target_seq))


@_entry.register
def _(change: ReactionChanged) -> entry_pb2.Entry:
    reaction = entry_pb2.ReactionChanged(target_seq=change.target_seq, emoji=change.emoji)
    return entry_pb2.Entry(reaction_changed=reaction)


@_entry.register
def _(change: MembershipChanged) -> entry_pb2.Entry:
    membership = entry_pb2.MembershipChanged(kind=entry_pb2.MembershipChanged.Kind.ValueType(change.kind))
    for user, role in change.members:
        membership.members.add(user_id=user, role=entry_pb2.Role.ValueType(role))
    return entry_pb2.Entry(membership_changed=membership)


@_entry.register
def _(change: ConversationUpdated) -> entry_pb2.Entry:
    update = entry_pb2.ConversationUpdated(
        title=change.title, picture_media_id=change.picture_media_id, admins_only_send=change.admins_only_send
    )
    if change.retention is not None:
        update.retention.CopyFrom(encode_retention(change.retention))
    return entry_pb2.Entry(conversation_updated=update)


def encode_retention(retention: Retention) -> entry_pb2.Retention:
    """Return a Retention; one without a rule means the deployment's default."""
    if retention.rule is RetentionRule.FOREVER:
        return entry_pb2.Retention(forever=entry_pb2.Retention.Forever())
    if retention.rule is RetentionRule.RELAY_ONLY:
        return entry_pb2.Retention(relay_only=entry_pb2.Retention.RelayOnly())
    if retention.rule is RetentionRule.MAX_AGE:
        return entry_pb2.Retention(max_age=Duration(seconds=retention.max_age_s))
    return entry_pb2.Retention()


def decode_retention(retention: entry_pb2.Retention) -> Retention:
    """Return the retention in a Retention."""
    rule = retention.WhichOneof("rule")
    if rule == "max_age":
        return Retention(RetentionRule.MAX_AGE, retention.max_age.seconds)
    rules = {"forever": RetentionRule.FOREVER, "relay_only": RetentionRule.RELAY_ONLY}
    return Retention(rules.get(rule or "", RetentionRule.DEFAULT))


def decode_change(data: bytes) -> Change:
    """Return the change in a serialised Entry. Raise ValueError if this version does not know its kind."""
    entry = entry_pb2.Entry.FromString(data)
    name = entry.WhichOneof("kind")
    if name == "message_appended":
        return Message(entry.message_appended.content.SerializeToString(deterministic=True))
    if name == "message_edited":
        edited = entry.message_edited
        return MessageEdited(edited.target_seq, edited.content.SerializeToString(deterministic=True))
    if name == "message_deleted":
        return MessageDeleted(entry.message_deleted.target_seq)
    if name == "reaction_changed":
        return ReactionChanged(entry.reaction_changed.target_seq, entry.reaction_changed.emoji)
    if name == "membership_changed":
        return _decode_membership(entry.membership_changed)
    if name == "conversation_updated":
        return _decode_update(entry.conversation_updated)
    raise ValueError("this version does not know the kind of the entry")


def _decode_membership(membership: entry_pb2.MembershipChanged) -> MembershipChanged:
    members = tuple((member.user_id, Role(member.role)) for member in membership.members)
    return MembershipChanged(MembershipKind(membership.kind), members)


def _decode_update(update: entry_pb2.ConversationUpdated) -> ConversationUpdated:
    return ConversationUpdated(
        update.title if update.HasField("title") else None,
        update.picture_media_id if update.HasField("picture_media_id") else None,
        update.admins_only_send if update.HasField("admins_only_send") else None,
        decode_retention(update.retention) if update.HasField("retention") else None,
    )

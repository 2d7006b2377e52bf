"""What an entry says, on the wire: its kind alone, as it stands in an Entry of the contract."""

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
from chat_service.wire.tags import encode_bytes_field
from parley.chat.v1 import entry_pb2

_FIELDS = entry_pb2.Entry.DESCRIPTOR.fields_by_name
MESSAGE: Final[int] = _FIELDS["message_appended"].number
EDITED: Final[int] = _FIELDS["message_edited"].number
CONTENT: Final[int] = entry_pb2.MessageAppended.DESCRIPTOR.fields_by_name["content"].number
EDITED_CONTENT: Final[int] = entry_pb2.MessageEdited.DESCRIPTOR.fields_by_name["content"].number


def encode_change(change: Change) -> bytes:
    """The field of an Entry that tells `change`. Contents stay as their senders wrote them: the rest is put around."""
    if isinstance(change, Message):
        return encode_bytes_field(MESSAGE, _content(CONTENT, change.content) + _state(change))
    if isinstance(change, MessageEdited):
        edited = entry_pb2.MessageEdited(target_seq=change.target_seq)
        return encode_bytes_field(EDITED, edited.SerializeToString() + _content(EDITED_CONTENT, change.content))
    return _entry(change).SerializeToString()


def _content(field: int, content: bytes) -> bytes:
    return encode_bytes_field(field, content) if content else b""


def _state(message: Message) -> bytes:
    if not message.edit_seq and not message.delete_seq and not message.reactions:
        return b""
    return entry_pb2.MessageAppended(
        edit_seq=message.edit_seq,
        delete_seq=message.delete_seq,
        reactions=[
            entry_pb2.Reaction(user_id=user, emoji=each.emoji)
            for user, each in sorted((message.reactions or {}).items(), key=itemgetter(0))
        ],
    ).SerializeToString()


@singledispatch
def _entry(change: object) -> entry_pb2.Entry:
    raise TypeError(f"no kind of entry: {change!r}")


@_entry.register
def _(change: MessageDeleted) -> entry_pb2.Entry:
    return entry_pb2.Entry(message_deleted=entry_pb2.MessageDeleted(target_seq=change.target_seq))


@_entry.register
def _(change: ReactionChanged) -> entry_pb2.Entry:
    said = entry_pb2.ReactionChanged(target_seq=change.target_seq, emoji=change.emoji)
    return entry_pb2.Entry(reaction_changed=said)


@_entry.register
def _(change: MembershipChanged) -> entry_pb2.Entry:
    said = entry_pb2.MembershipChanged(kind=entry_pb2.MembershipChanged.Kind.ValueType(change.kind))
    for user, role in change.members:
        said.members.add(user_id=user, role=entry_pb2.Role.ValueType(role))
    return entry_pb2.Entry(membership_changed=said)


@_entry.register
def _(change: ConversationUpdated) -> entry_pb2.Entry:
    said = entry_pb2.ConversationUpdated(
        title=change.title, picture_media_id=change.picture_media_id, admins_only_send=change.admins_only_send
    )
    if change.retention is not None:
        said.retention.CopyFrom(encode_retention(change.retention))
    return entry_pb2.Entry(conversation_updated=said)


def encode_retention(domain: Retention) -> entry_pb2.Retention:
    """A Retention; no rule means the deployment's default."""
    if domain.rule is RetentionRule.FOREVER:
        return entry_pb2.Retention(forever=entry_pb2.Retention.Forever())
    if domain.rule is RetentionRule.RELAY_ONLY:
        return entry_pb2.Retention(relay_only=entry_pb2.Retention.RelayOnly())
    if domain.rule is RetentionRule.MAX_AGE:
        return entry_pb2.Retention(max_age=Duration(seconds=domain.max_age_s))
    return entry_pb2.Retention()


def decode_retention(said: entry_pb2.Retention) -> Retention:
    """A Retention off the wire."""
    rule = said.WhichOneof("rule")
    if rule == "max_age":
        return Retention(RetentionRule.MAX_AGE, said.max_age.seconds)
    rules = {"forever": RetentionRule.FOREVER, "relay_only": RetentionRule.RELAY_ONLY}
    return Retention(rules.get(rule or "", RetentionRule.DEFAULT))


def decode_change(data: bytes) -> Change:
    """What `kind` told. Raises ValueError for a kind that this version does not know."""
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
        return _read_membership(entry.membership_changed)
    if name == "conversation_updated":
        return _read_update(entry.conversation_updated)
    raise ValueError("an entry of a kind this version does not know")


def _read_membership(said: entry_pb2.MembershipChanged) -> MembershipChanged:
    members = tuple((each.user_id, Role(each.role)) for each in said.members)
    return MembershipChanged(MembershipKind(said.kind), members)


def _read_update(said: entry_pb2.ConversationUpdated) -> ConversationUpdated:
    return ConversationUpdated(
        said.title if said.HasField("title") else None,
        said.picture_media_id if said.HasField("picture_media_id") else None,
        said.admins_only_send if said.HasField("admins_only_send") else None,
        decode_retention(said.retention) if said.HasField("retention") else None,
    )

"""What is kept of conversations beside their logs: kind, title, members, watermarks; and who is in which.

`conversations`: one document each, written only by the owner, true for the seq in `applied`; `members` has who is one
now, `past` the ended memberships, `marks` the watermarks, which rise by themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from bson import Binary
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from chat_service.model.conversation import Conversation, ConversationKind, ConversationMember, Interval, Watermark
from chat_service.model.entry import Role
from chat_service.storage.batch_loader import BatchLoader
from chat_service.storage.device_marks import MongoDeviceMarks
from chat_service.storage.documents import decode_retention, encode_retention
from chat_service.storage.memberships import MongoMembershipStore
from chat_service.storage.mongo import Database, Document, store_errors
from chat_service.storage.relations import MongoBlockStore

CONVERSATIONS: Final = "conversations"


class MongoConversationStore:
    """Implements the owner's Conversations and the history's; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._conversations: AsyncCollection[Document] = database[CONVERSATIONS]
        self._memberships = MongoMembershipStore(database)
        self._blocks = MongoBlockStore(database)
        self._device_marks = MongoDeviceMarks(database)
        self._stored = BatchLoader(self._load_all)

    async def load(self, conversation_id: str) -> Conversation | None:
        """The conversation, or None if none was stored."""
        # For its owner, who waits behind nobody.
        return (await self._load_all([conversation_id])).get(conversation_id)

    async def load_many(self, conversation_ids: Collection[str]) -> dict[str, Conversation]:
        """The conversations that are stored, by id."""
        return await self._stored.get(conversation_ids)

    async def _load_all(self, conversation_ids: Collection[str]) -> dict[str, Conversation]:
        condition = {"_id": {"$in": [_bytes(each) for each in conversation_ids]}}
        with store_errors():
            found = [decode_conversation(each) async for each in self._conversations.find(condition)]
        return {each.conversation_id: each for each in found}

    async def is_blocked(self, conversation: Conversation) -> bool:
        """Whether one member of a 1-1 conversation has blocked the other."""
        if conversation.kind is not ConversationKind.DIRECT:
            return False
        return await self._blocks.is_blocked_either_way(*conversation.members)

    async def save(self, conversation: Conversation) -> None:
        """Keep it, unless what is kept is true for a later seq; and let its members find it."""
        watermarks = {user: member.watermark for user, member in conversation.members.items()}
        # First, so that no crash in between leaves members who cannot find it.
        await self._memberships.add_members(conversation)
        # A duplicate: what is kept is true for this seq or a later one.
        with store_errors(), suppress(DuplicateKeyError):
            await self._conversations.update_one(
                _older(conversation.conversation_id, conversation.applied_seq),
                # It may have another retention now: somebody looks whether something may go.
                {
                    "$set": {**_fields(conversation), "due": 0},
                    "$max": _marks(watermarks),
                    "$unset": _gone(conversation),
                },
                upsert=True,
            )

    async def raise_applied_seq(self, conversation_id: str, seq: int) -> None:
        """All entries up to `seq` are applied, and those since what is kept changed nothing of it."""
        with store_errors():
            await self._conversations.update_one(_older(conversation_id, seq), {"$set": {"applied": seq}})

    async def raise_watermarks(self, watermarks: Mapping[str, Mapping[str, Watermark]]) -> None:
        """Raise the watermarks of members, by conversation and user; lower ones change nothing."""
        updates = [
            UpdateOne({"_id": _bytes(conversation_id)}, {"$max": _marks(marks)})
            for conversation_id, marks in watermarks.items()
        ]
        with store_errors():
            await self._conversations.bulk_write(updates, ordered=False)

    async def raise_device_marks(self, marks: Mapping[str, Mapping[str, int]], due_ms: int) -> None:
        """What devices have, by conversation and device; what may go thereby is looked for at `due_ms`."""
        await self._device_marks.raise_marks(marks)
        sooner = [UpdateOne({"_id": _bytes(each)}, {"$min": {"due": due_ms}}) for each in marks]
        with store_errors():
            await self._conversations.bulk_write(sooner, ordered=False)


def _older(conversation_id: str, seq: int) -> Document:
    return {"_id": _bytes(conversation_id), "applied": {"$lt": seq}}


def _fields(conversation: Conversation) -> Document:
    return {
        "kind": int(conversation.kind),
        "title": conversation.title,
        "picture": conversation.picture_media_id,
        "admins_only": conversation.admins_only_send,
        "retention": encode_retention(conversation.retention),
        "created": conversation.create_ms,
        "applied": conversation.applied_seq,
        "members": {
            user: {"role": int(member.role), "joined": member.joined_seq}
            for user, member in conversation.members.items()
        },
        "past": {
            user: [[each.first, each.last] for each in intervals]
            for user, intervals in conversation.past_memberships.items()
        },
    }


def _gone(conversation: Conversation) -> Document:
    """How far those had got who left."""
    return {f"marks.{user}": "" for user in conversation.past_memberships if user not in conversation.members}


def _marks(marks: Mapping[str, Watermark]) -> Document:
    fields: Document = {}
    for user, mark in marks.items():
        fields[f"marks.{user}.delivered"] = mark.delivered_seq
        fields[f"marks.{user}.read"] = mark.read_seq
        fields[f"marks.{user}.read_number"] = mark.read_number
    return fields


def decode_conversation(document: Document) -> Conversation:
    """The conversation of a document."""
    marks = document.get("marks", {})
    return Conversation(
        conversation_id=document["_id"].hex(),
        kind=ConversationKind(document["kind"]),
        title=document["title"],
        create_ms=document["created"],
        applied_seq=document["applied"],
        members={
            user: ConversationMember(Role(fields["role"]), fields["joined"], _watermark(marks.get(user, {})))
            for user, fields in document["members"].items()
        },
        past_memberships={
            user: tuple(Interval(first, last) for first, last in intervals)
            for user, intervals in document["past"].items()
        },
        picture_media_id=document["picture"],
        admins_only_send=document["admins_only"],
        retention=decode_retention(document["retention"]),
        first_seq=document.get("first", 1),
        first_number=document.get("first_number", 0),
    )


def _watermark(fields: Mapping[str, Any]) -> Watermark:
    return Watermark(fields.get("delivered", 0), fields.get("read", 0), fields.get("read_number", 0))


def _bytes(identifier: str) -> Binary:
    return Binary(bytes.fromhex(identifier))

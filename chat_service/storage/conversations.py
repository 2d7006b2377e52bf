"""The state of conversations in MongoDB, derived from their logs, and the watermarks of members.

`conversations` holds one document per conversation. Its owner writes it; `applied` is the seq up to which the log is
applied. `members` holds the current members, `past` the ended memberships, and `marks` the watermarks, which are raised
independently of `applied`. The fields of retention are described in `storage.retention`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from chat_service.model.conversation import Conversation, ConversationKind, ConversationMember, Interval, Watermark
from chat_service.model.entry import Role
from chat_service.storage.device_marks import MongoDeviceMarks
from chat_service.storage.documents import decode_retention, encode_id, encode_retention
from chat_service.storage.memberships import MongoMembershipStore
from chat_service.storage.relations import MongoBlockStore
from servicekit.batch_loader import BatchLoader
from servicekit.mongo import Database, Document, store_errors

CONVERSATIONS: Final = "conversations"


class MongoConversationStore:
    """Implements ConversationStore; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._conversations: AsyncCollection[Document] = database[CONVERSATIONS]
        self._memberships = MongoMembershipStore(database)
        self._blocks = MongoBlockStore(database)
        self._device_marks = MongoDeviceMarks(database)
        self._reads = BatchLoader(self._load_all)

    async def load(self, conversation_id: str) -> Conversation | None:
        """See ConversationStore."""
        # Not through the batch loader: an owner that loads a conversation must not wait for other readers.
        return (await self._load_all([conversation_id])).get(conversation_id)

    async def load_many(self, conversation_ids: Collection[str]) -> dict[str, Conversation]:
        """Read through a batch loader."""
        return await self._reads.get(conversation_ids)

    async def _load_all(self, conversation_ids: Collection[str]) -> dict[str, Conversation]:
        condition = {"_id": {"$in": [encode_id(each) for each in conversation_ids]}}
        with store_errors():
            conversations = [decode_conversation(each) async for each in self._conversations.find(condition)]
        return {each.conversation_id: each for each in conversations}

    async def is_blocked(self, conversation: Conversation) -> bool:
        """Look up the blocks in both directions; return False for a group."""
        if conversation.kind is not ConversationKind.DIRECT:
            return False
        return await self._blocks.is_blocked_either_way(*conversation.members)

    async def save(self, conversation: Conversation) -> None:
        """Write the memberships, then the document. See ConversationStore."""
        watermarks = {user: member.watermark for user, member in conversation.members.items()}
        # Memberships first: after a crash in between, every member still finds the conversation.
        await self._memberships.add_members(conversation)
        # A duplicate key means that the stored document has this seq or a later one.
        with store_errors(), suppress(DuplicateKeyError):
            await self._conversations.update_one(
                _with_lower_seq(conversation.conversation_id, conversation.applied_seq),
                # The retention may have changed, so make the conversation due for a sweep.
                {
                    "$set": {**_encode_conversation(conversation), "due": 0},
                    "$max": _encode_marks(watermarks),
                    "$unset": _marks_of_former_members(conversation),
                },
                upsert=True,
            )

    async def raise_applied_seq(self, conversation_id: str, seq: int) -> None:
        """Set `applied` unless it is higher."""
        with store_errors():
            await self._conversations.update_one(_with_lower_seq(conversation_id, seq), {"$set": {"applied": seq}})

    async def raise_watermarks(self, watermarks: Mapping[str, Mapping[str, Watermark]]) -> None:
        """Raise each field of each watermark with `$max`, in one bulk write."""
        updates = [
            UpdateOne({"_id": encode_id(conversation_id)}, {"$max": _encode_marks(marks)})
            for conversation_id, marks in watermarks.items()
        ]
        with store_errors():
            await self._conversations.bulk_write(updates, ordered=False)

    async def raise_device_marks(self, marks: Mapping[str, Mapping[str, int]], due_ms: int) -> None:
        """Raise the device marks, then lower `due` of the conversations to at most `due_ms`."""
        await self._device_marks.raise_marks(marks)
        updates = [UpdateOne({"_id": encode_id(each)}, {"$min": {"due": due_ms}}) for each in marks]
        with store_errors():
            await self._conversations.bulk_write(updates, ordered=False)


def _with_lower_seq(conversation_id: str, seq: int) -> Document:
    return {"_id": encode_id(conversation_id), "applied": {"$lt": seq}}


def _encode_conversation(conversation: Conversation) -> Document:
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


def _marks_of_former_members(conversation: Conversation) -> Document:
    return {f"marks.{user}": "" for user in conversation.past_memberships if user not in conversation.members}


def _encode_marks(marks: Mapping[str, Watermark]) -> Document:
    fields: Document = {}
    for user, mark in marks.items():
        fields[f"marks.{user}.delivered"] = mark.delivered_seq
        fields[f"marks.{user}.read"] = mark.read_seq
        fields[f"marks.{user}.read_number"] = mark.read_number
    return fields


def decode_conversation(document: Document) -> Conversation:
    """Return the conversation that a document holds."""
    marks = document.get("marks", {})
    return Conversation(
        conversation_id=document["_id"].hex(),
        kind=ConversationKind(document["kind"]),
        title=document["title"],
        create_ms=document["created"],
        applied_seq=document["applied"],
        members={
            user: ConversationMember(Role(fields["role"]), fields["joined"], _decode_watermark(marks.get(user, {})))
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


def _decode_watermark(fields: Mapping[str, Any]) -> Watermark:
    return Watermark(fields.get("delivered", 0), fields.get("read", 0), fields.get("read_number", 0))

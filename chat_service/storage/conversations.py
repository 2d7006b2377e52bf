"""What is kept of conversations beside their logs: kind, title, members, watermarks; and who is in which.

`conversations`: one document each, written only by the owner, true for the seq in `applied`.
`memberships`: a clustered collection, `_id` = 16 bytes of the user + 16 of the conversation, so that the
conversations of a user are one range.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Final

from bson import Binary
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from chat_service.model.conversation import Conversation, ConversationKind, Member, Watermark
from chat_service.model.entry import Role
from chat_service.storage.mongo import Database, Document, ensure_clustered, store_errors

CONVERSATIONS: Final = "conversations"
MEMBERSHIPS: Final = "memberships"
FIRST, LAST = "00" * 16, "ff" * 16


class MongoConversations:
    """Implements the owner's Conversations and the history's; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._conversations: AsyncCollection[Document] = database[CONVERSATIONS]
        self._memberships: AsyncCollection[Document] = database[MEMBERSHIPS]

    async def ensure_indexes(self) -> None:
        """Make the clustered collection where it is not there yet."""
        with store_errors(deadline=60.0):
            await ensure_clustered(self._database, MEMBERSHIPS)

    async def load(self, conversation_id: str) -> Conversation | None:
        """The conversation, or None if none was stored."""
        return (await self.load_many([conversation_id])).get(conversation_id)

    async def load_many(self, conversation_ids: Collection[str]) -> dict[str, Conversation]:
        """The conversations that are stored, by id."""
        condition = {"_id": {"$in": [_bytes(each) for each in conversation_ids]}}
        with store_errors():
            found = [_conversation(each) async for each in self._conversations.find(condition)]
        return {each.conversation_id: each for each in found}

    async def of_user(self, user_id: str, after: str = "", limit: int = 0) -> list[str]:
        """The ids of a user's conversations above `after`, in order, at most `limit` (0: all)."""
        span = {"$gt": _membership(user_id, after or FIRST), "$lte": _membership(user_id, LAST)}
        with store_errors():
            found = self._memberships.find({"_id": span}).sort("_id", 1).hint({"_id": 1}).limit(limit)
            return [each["_id"][16:].hex() async for each in found]

    async def store(self, conversation: Conversation) -> None:
        """Keep it, unless what is kept is true for a later seq; and let its members find it."""
        memberships = [
            UpdateOne(
                {"_id": _membership(user, conversation.conversation_id)},
                {"$setOnInsert": {"joined": member.joined_seq}},
                upsert=True,
            )
            for user, member in conversation.members.items()
        ]
        with store_errors():
            await self._memberships.bulk_write(memberships, ordered=False)
            # A duplicate: what is kept is true for this seq or a later one.
            with suppress(DuplicateKeyError):
                await self._conversations.update_one(
                    {
                        "_id": _bytes(conversation.conversation_id),
                        "applied": {"$lt": conversation.applied_seq},
                    },
                    {"$set": _fields(conversation)},
                    upsert=True,
                )

    async def raise_watermarks(self, watermarks: Mapping[str, Mapping[str, Watermark]]) -> None:
        """Raise the watermarks of members, by conversation and user; lower ones change nothing."""
        updates = [
            UpdateOne({"_id": _bytes(conversation_id)}, {"$max": _marks(marks)})
            for conversation_id, marks in watermarks.items()
        ]
        with store_errors():
            await self._conversations.bulk_write(updates, ordered=False)


def _fields(conversation: Conversation) -> Document:
    fields: Document = {
        "kind": int(conversation.kind),
        "title": conversation.title,
        "created": conversation.create_ms,
        "applied": conversation.applied_seq,
    }
    # Member by member, so that watermarks, which rise by themselves, are left alone.
    for user, member in conversation.members.items():
        fields[f"members.{user}.role"] = int(member.role)
        fields[f"members.{user}.joined"] = member.joined_seq
    return fields


def _marks(marks: Mapping[str, Watermark]) -> Document:
    fields: Document = {}
    for user, mark in marks.items():
        fields[f"members.{user}.delivered"] = mark.delivered_seq
        fields[f"members.{user}.read"] = mark.read_seq
        fields[f"members.{user}.read_number"] = mark.read_number
    return fields


def _conversation(document: Document) -> Conversation:
    return Conversation(
        conversation_id=document["_id"].hex(),
        kind=ConversationKind(document["kind"]),
        title=document["title"],
        create_ms=document["created"],
        applied_seq=document["applied"],
        members={user: _member(fields) for user, fields in document["members"].items()},
    )


def _member(fields: Mapping[str, Any]) -> Member:
    mark = Watermark(fields.get("delivered", 0), fields.get("read", 0), fields.get("read_number", 0))
    return Member(Role(fields["role"]), fields["joined"], mark)


def _membership(user_id: str, conversation_id: str) -> Binary:
    return _bytes(user_id + conversation_id)


def _bytes(identifier: str) -> Binary:
    return Binary(bytes.fromhex(identifier))

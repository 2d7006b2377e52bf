"""The state of conversations in MongoDB, derived from their logs, and the watermarks of members.

`conversations` holds one document per conversation. Its owner writes it; `applied` is the seq up to which the log is
applied. `members` holds the current members. `past` holds the first and last seqs of the ended memberships, and
`past_numbers` their first seqs with their message numbers: servers of earlier versions, which run beside new ones
during an upgrade, read `past`. `marks` holds the watermarks of present and former members, which are raised
independently of `applied`. `hidden_marks` holds the watermarks that were raised while one user of a 1-1 conversation
blocked the other, who is not shown them. The fields of retention are described in `storage.retention`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from chat_service.model.conversation import (
    MAX_PAST_MEMBERS,
    Conversation,
    ConversationKind,
    ConversationMember,
    Interval,
    PastMembership,
    Watermark,
)
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
        watermarks = {user: member.watermark_for(own=False) for user, member in conversation.members.items()}
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
                },
                upsert=True,
            )
            if len(conversation.past_memberships) == MAX_PAST_MEMBERS:
                await self._remove_unused_marks(conversation)

    async def _remove_unused_marks(self, conversation: Conversation) -> None:
        """Remove the watermarks of users whose former memberships are not kept any more.

        If a later state is stored meanwhile, leave it alone: its members may be others.
        """
        known = [*conversation.members, *conversation.past_memberships]
        used = {"$filter": {"input": {"$objectToArray": "$marks"}, "cond": {"$in": ["$$this.k", known]}}}
        await self._conversations.update_one(
            {"_id": encode_id(conversation.conversation_id), "applied": conversation.applied_seq},
            [{"$set": {"marks": {"$arrayToObject": used}}}],
        )

    async def raise_applied_seq(self, conversation_id: str, seq: int) -> None:
        """Set `applied` unless it is higher."""
        with store_errors():
            await self._conversations.update_one(_with_lower_seq(conversation_id, seq), {"$set": {"applied": seq}})

    async def raise_watermarks(
        self, watermarks: Mapping[str, Mapping[str, Watermark]], hidden: Collection[str] = ()
    ) -> None:
        """Raise each field of each watermark with `$max`, in one bulk write."""
        updates = [
            UpdateOne(
                {"_id": encode_id(conversation_id)},
                {"$max": _encode_marks(marks, "hidden_marks" if conversation_id in hidden else "marks")},
            )
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
            user: {"role": int(member.role), "joined": member.joined_seq, "joined_number": member.joined_number}
            for user, member in conversation.members.items()
        },
        "past": {
            user: [[each.interval.first, each.interval.last] for each in memberships]
            for user, memberships in conversation.past_memberships.items()
        },
        "past_numbers": {
            user: [[each.interval.first, each.joined_number, each.left_number] for each in memberships]
            for user, memberships in conversation.past_memberships.items()
        },
    }


def _encode_marks(marks: Mapping[str, Watermark], field: str = "marks") -> Document:
    fields: Document = {}
    for user, mark in marks.items():
        fields[f"{field}.{user}.delivered"] = mark.delivered_seq
        fields[f"{field}.{user}.read"] = mark.read_seq
        fields[f"{field}.{user}.read_number"] = mark.read_number
    return fields


def decode_conversation(document: Document) -> Conversation:
    """Return the conversation that a document holds."""
    marks = {user: _decode_watermark(fields) for user, fields in document.get("marks", {}).items()}
    hidden_marks = {user: _decode_watermark(fields) for user, fields in document.get("hidden_marks", {}).items()}
    past, past_numbers = document["past"], document.get("past_numbers", {})
    first_seq: int = document.get("first", 1)
    first_number: int = document.get("first_number", 0)
    return Conversation(
        conversation_id=document["_id"].hex(),
        kind=ConversationKind(document["kind"]),
        title=document["title"],
        create_ms=document["created"],
        applied_seq=document["applied"],
        members={
            user: _decode_member(fields, marks.get(user, Watermark()), hidden_marks.get(user))
            for user, fields in document["members"].items()
        },
        past_memberships={
            user: _decode_past(intervals, past_numbers.get(user, [])) for user, intervals in past.items()
        },
        former_watermarks={user: marks[user] for user in past if user in marks and user not in document["members"]},
        picture_media_id=document["picture"],
        admins_only_send=document["admins_only"],
        retention=decode_retention(document["retention"]),
        first_seq=first_seq,
        # Earlier versions have removed content only together with its unread count.
        expired_seq=document.get("expired", first_seq),
        expired_number=document.get("expired_number", first_number),
    )


def _decode_member(fields: Document, shown: Watermark, hidden: Watermark | None) -> ConversationMember:
    role, joined_number = Role(fields["role"]), fields.get("joined_number", 0)
    if hidden is None:
        return ConversationMember(role, fields["joined"], shown, joined_number)
    return ConversationMember(role, fields["joined"], shown.max_with(hidden), joined_number, shown)


def _decode_past(intervals: Sequence[Sequence[int]], numbers: Sequence[Sequence[int]]) -> tuple[PastMembership, ...]:
    # Earlier versions store no numbers: without them, the messages of the membership count as read.
    by_first_seq = {first: (joined_number, left_number) for first, joined_number, left_number in numbers}
    return tuple(PastMembership(Interval(first, last), *by_first_seq.get(first, (0, 0))) for first, last in intervals)


def _decode_watermark(fields: Mapping[str, Any]) -> Watermark:
    return Watermark(fields.get("delivered", 0), fields.get("read", 0), fields.get("read_number", 0))

"""References to media in MongoDB: those of messages and groups in the log, and the present pictures.

The field `f` of entries is described in `storage.documents`. It is absent from an entry that refers to no media, so the
index has no key for such an entry. `picture` is the picture in the documents of accounts and of conversations. The
entry that set the picture of a group may be removed by retention, while the conversation keeps the picture.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection

from chat_service.history.message_search import SearchScope
from chat_service.storage.conversations import CONVERSATIONS
from chat_service.storage.documents import MESSAGE, encode_id, entry_id, entry_range
from chat_service.storage.log import ENTRIES
from servicekit.mongo import Database, Document, index_builds, store_errors

MEDIA_INDEX: Final = "media"
PICTURE_INDEX: Final = "picture"
USERS: Final = "users"


class MongoMediaReferences:
    """Implements MediaReferences; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._client = database.client
        self._entries: AsyncCollection[Document] = database[ENTRIES]
        self._conversations: AsyncCollection[Document] = database[CONVERSATIONS]
        self._users: AsyncCollection[Document] = database[USERS]

    async def ensure_indexes(self) -> None:
        """Create the indexes unless they exist."""
        with index_builds():
            await self._entries.create_index(
                [("f", 1), ("c", 1), ("_id", 1)], name=MEDIA_INDEX, partialFilterExpression={"f": {"$exists": True}}
            )
            for collection in (self._conversations, self._users):
                await collection.create_index(
                    [("picture", 1), ("_id", 1)], name=PICTURE_INDEX, partialFilterExpression={"picture": {"$gt": ""}}
                )

    async def is_profile_picture(self, media_id: str) -> bool:
        """Read one key of the index: an account that is being deleted has no picture."""
        with store_errors():
            return await self._users.find_one({"picture": media_id}, {"_id": 1}, hint=PICTURE_INDEX) is not None

    async def filter_conversations(self, media_id: str, conversation_ids: Collection[str]) -> set[str]:
        """Read at most two keys of each index for each conversation."""
        ids = [encode_id(each) for each in conversation_ids]
        pictured = {"picture": media_id, "_id": {"$in": ids}}
        with store_errors():
            referring = await _distinct(self._entries, "c", {"f": encode_id(media_id), "c": {"$in": ids}}, MEDIA_INDEX)
            cursor = self._conversations.find(pictured, {"_id": 1}).hint(PICTURE_INDEX)
            return {each.hex() for each in referring} | {each["_id"].hex() async for each in cursor}

    async def is_in_scopes(self, media_id: str, scopes: Sequence[SearchScope]) -> bool:
        """Read one range of the index for each visible interval, up to the first match."""
        if not any(scope.intervals for scope in scopes):
            return False
        with store_errors():
            return (
                await self._entries.find_one(scopes_filter(media_id, scopes), {"_id": 1}, hint=MEDIA_INDEX) is not None
            )

    async def filter_referenced(self, media_ids: Collection[str]) -> set[str]:
        """Read at most two keys of each index for each file. It is the only query of the log without its shard key.

        It concerns all conversations, and is asked for files that may be removed, once a day for each.
        All are read as of one time: a file that moves, from a message to a profile for example, is always referenced.
        """
        files = {"f": {"$in": [encode_id(each) for each in media_ids]}}
        pictures = {"picture": {"$in": list(media_ids)}}
        with store_errors():
            async with self._client.start_session(snapshot=True) as snapshot:
                found = await _distinct(self._entries, "f", files, MEDIA_INDEX, snapshot)
                referenced = {each.hex() for each in found}
                for collection in (self._conversations, self._users):
                    referenced |= await _distinct(collection, "picture", pictures, PICTURE_INDEX, snapshot)
        return referenced


async def _distinct(
    collection: AsyncCollection[Document],
    field: str,
    condition: Document,
    index: str,
    session: AsyncClientSession | None = None,
) -> set[Any]:
    found = await collection.aggregate(distinct_pipeline(field, condition), hint=index, session=session)
    return {each["_id"] async for each in found}


def distinct_pipeline(field: str, condition: Document) -> list[Document]:
    """Return the pipeline that yields the values of a field, by a distinct scan of an index."""
    return [{"$match": condition}, {"$group": {"_id": f"${field}"}}]


def scopes_filter(media_id: str, scopes: Sequence[SearchScope]) -> Document:
    """Return the filter for the messages in the scopes that refer to the file."""
    ranges: list[Document] = []
    excluded: list[Document] = []
    for scope in scopes:
        conversation_id = encode_id(scope.conversation_id)
        visible = [entry_range(scope.conversation_id, each.first, each.last) for each in scope.intervals]
        ranges += [{"f": encode_id(media_id), **each} for each in visible]
        # A message whose last edit the user may not see is shown without content.
        edits = [{"e": {"$gte": gap.first, "$lte": gap.last}} for gap in scope.invisible_intervals()]
        excluded += [{"c": conversation_id, **edit} for edit in edits]
        if scope.hidden:
            excluded.append({"_id": {"$in": [entry_id(scope.conversation_id, seq) for seq in scope.hidden]}})
    return {"$or": ranges, "y": MESSAGE, **({"$nor": excluded} if excluded else {})}

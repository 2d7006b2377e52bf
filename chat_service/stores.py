"""The stores of a chat server, put together: what is in MongoDB, and the index of changes in Redis."""

from __future__ import annotations

from redis.asyncio import Redis

from chat_service.storage.blocks import MongoBlocks
from chat_service.storage.conversations import MongoConversations
from chat_service.storage.devices import MongoDevices
from chat_service.storage.generation import MongoGeneration
from chat_service.storage.index import RedisIndex
from chat_service.storage.index_life import IndexLife
from chat_service.storage.log import MongoLog
from chat_service.storage.memberships import MongoMemberships
from chat_service.storage.mongo import Database
from chat_service.storage.retention import MongoRetention
from chat_service.storage.search import MongoSearch
from chat_service.wire.words import words_of
from servicekit.membership import Membership
from servicekit.ring import Member


class Stores:
    """Of the server that is a member by `membership`; `searchable` keeps words."""

    def __init__(self, database: Database, redis: Redis, membership: Membership, *, searchable: bool) -> None:
        self.log = MongoLog(database, words_of if searchable else None)
        self.conversations = MongoConversations(database)
        self.memberships = MongoMemberships(database)
        self.blocks = MongoBlocks(database)
        self.devices = MongoDevices(database)
        self.retention = MongoRetention(database)
        self.words = MongoSearch(database) if searchable else None
        self.index = RedisIndex(redis, _index_life(database, redis, membership))

    async def prepare(self) -> None:
        """Make sure of collections and indexes, and learn the generation of the change index."""
        await self.log.ensure_indexes()
        await self.retention.ensure_indexes()
        if self.words is not None:
            await self.words.ensure_indexes()
        await self.index.life.start()


def _index_life(database: Database, redis: Redis, membership: Membership) -> IndexLife:
    def lives() -> list[str]:
        return [_life(member) for member in membership.ring.members.values()]

    return IndexLife(redis, MongoGeneration(database), _life(membership.me), lives)


def _life(member: Member) -> str:
    """The name of a server's life, from its start to its end."""
    return f"{member.server_id}@{member.started_ms}"

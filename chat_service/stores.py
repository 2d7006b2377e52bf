"""The stores of a chat server: those in MongoDB, and the change index in Redis."""

from __future__ import annotations

from redis.asyncio import Redis

from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.attempts import MongoAttemptCounter
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.devices import MongoDeviceStore
from chat_service.storage.generation_store import MongoGenerationStore
from chat_service.storage.index_generation import IndexGeneration
from chat_service.storage.log import MongoLog
from chat_service.storage.media_references import MongoMediaReferences
from chat_service.storage.memberships import MongoMembershipStore
from chat_service.storage.relations import MongoBlockStore, MongoContacts
from chat_service.storage.retention import MongoRetentionStore
from chat_service.storage.touched_conversations import RedisTouchedConversations
from chat_service.storage.word_index import MongoWordIndex
from chat_service.wire.entries import extract_media, extract_words
from servicekit.clock import Clock
from servicekit.membership import Membership
from servicekit.mongo import Database
from servicekit.ring import RingMember


class Stores:
    """The stores, opened for the server of `membership`; with `search`, words of messages are indexed."""

    def __init__(self, database: Database, redis: Redis, membership: Membership, clock: Clock, *, search: bool) -> None:
        self.log = MongoLog(database, extract_words if search else None, extract_media)
        self.conversations = MongoConversationStore(database)
        self.memberships = MongoMembershipStore(database)
        self.accounts = MongoAccountStore(database)
        self.attempts = MongoAttemptCounter(database)
        self.devices = MongoDeviceStore(database)
        self.blocks = MongoBlockStore(database)
        self.contacts = MongoContacts(database)
        self.retention = MongoRetentionStore(database)
        self.media = MongoMediaReferences(database)
        self.words = MongoWordIndex(database) if search else None

        def running_processes() -> list[str]:
            # With skipped members: only etcd decides for all servers that a process is dead.
            return [_process_name(member) for member in membership.registered.values()]

        me = _process_name(membership.me)
        self.touched = RedisTouchedConversations(redis, me, running_processes, clock)
        self.index = RedisChangeIndex(
            redis, IndexGeneration(redis, MongoGenerationStore(database), me, running_processes)
        )

    async def prepare(self) -> None:
        """Create the collections and indexes that are missing, and load the generation of the change index.

        Raise StoreUnavailable.
        """
        await self.accounts.ensure_indexes()
        await self.attempts.ensure_indexes()
        await self.log.ensure_indexes()
        await self.retention.ensure_indexes()
        await self.media.ensure_indexes()
        if self.words is not None:
            await self.words.ensure_indexes()
        await self.index.generation.start()


def _process_name(member: RingMember) -> str:
    """Return the name of a server process: the server id and the time of its start."""
    return f"{member.server_id}@{member.started_ms}"

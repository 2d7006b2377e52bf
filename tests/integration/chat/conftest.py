"""Fixtures that run owners in this process on a real MongoDB and a real Valkey; publications are recorded in lists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
import uuid_utils
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent
from redis.asyncio import Redis

from chat_service.model.conversation import Watermark
from chat_service.model.entry import Draft, Entry, Message
from chat_service.model.ids import direct_id, uuid7_time_ms
from chat_service.model.requests import Appended, AppendOutcome, Attempt, Creation, DoneOutcome, Receipt
from chat_service.model.retention import KEEP_FOREVER, RetentionPolicy
from chat_service.model.stores import ChangeIndex
from chat_service.owner.owner import Owner, OwnerLimits
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.generation_store import MongoGenerationStore
from chat_service.storage.index_generation import IndexGeneration
from chat_service.storage.log import MongoLog
from chat_service.wire.contents import retain_mentions
from devstack.stack import Stack
from servicekit.clock import Clock, SystemClock
from servicekit.mongo import Database, Document, connect
from servicekit.ring import Ring, RingMember

ALICE, BOB, CAROL = (letter * 32 for letter in "abc")
UNLIMITED = OwnerLimits(entries_per_second=1e6, entries_burst=1e6)


@dataclass
class InsertCounter(CommandListener):
    """A command listener that records the number of documents in each insert into the log."""

    sizes: list[int] = field(default_factory=list)

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "insert" and event.command.get("insert") == "entries":
            self.sizes.append(len(event.command["documents"]))

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


@dataclass
class RecordedPublisher:
    """A publisher that records the publications of an owner instead of sending them to homes."""

    entries: list[Entry] = field(default_factory=list)
    # Published entries as (users, seqs).
    deliveries: list[tuple[frozenset[str], tuple[int, ...]]] = field(default_factory=list)
    typing: list[tuple[frozenset[str], str, str, bool]] = field(default_factory=list)
    watermarks: list[tuple[frozenset[str], str, Mapping[str, Watermark]]] = field(default_factory=list)

    def publish(self, users: Collection[str], entries: Sequence[Entry], traces: Mapping[int, str]) -> None:
        self.entries += entries
        self.deliveries.append((frozenset(users), tuple(entry.seq for entry in entries)))

    def publish_typing(self, users: Collection[str], conversation_id: str, user_id: str, typing: bool) -> None:
        self.typing.append((frozenset(users), conversation_id, user_id, typing))

    def publish_watermarks(
        self, users: Collection[str], conversation_id: str, watermarks: Mapping[str, Watermark]
    ) -> None:
        self.watermarks.append((frozenset(users), conversation_id, watermarks))


@dataclass
class FixedRing:
    """A ring with one member that owns every conversation."""

    me: RingMember
    ring: Ring

    @classmethod
    def of_one(cls, name: str) -> FixedRing:
        member = RingMember(name, "127.0.0.1:1", "127.0.0.1:2", 0)
        return cls(member, Ring.from_members([member], 1))

    def transfer_to(self, name: str) -> None:
        """Replace the ring by one in which another server owns every conversation."""
        self.ring = Ring.from_members([RingMember(name, "127.0.0.1:3", "127.0.0.1:4", 0)], self.ring.revision + 1)


@dataclass
class RunningOwner:
    """A running owner with its publisher and its ring."""

    owner: Owner
    publisher: RecordedPublisher
    ring: FixedRing

    async def create(self, creation: Creation) -> DoneOutcome:
        answer: asyncio.Future[DoneOutcome] = asyncio.get_running_loop().create_future()
        self.owner.create_conversation(creation, answer.set_result)
        return await answer

    async def append(self, draft: Draft, attempt: Attempt | None = None) -> AppendOutcome:
        answer: asyncio.Future[AppendOutcome] = asyncio.get_running_loop().create_future()
        self.owner.append_draft(draft, attempt, answer.set_result)
        return await answer

    async def reload(self, conversation_id: str) -> DoneOutcome:
        answer: asyncio.Future[DoneOutcome] = asyncio.get_running_loop().create_future()
        self.owner.invalidate_conversation(conversation_id, answer.set_result)
        return await answer

    async def receive(
        self, user: str, conversation_id: str, delivered: int, read: int, device: str = ""
    ) -> DoneOutcome:
        answer: asyncio.Future[DoneOutcome] = asyncio.get_running_loop().create_future()
        self.owner.receive_receipt(Receipt(user, device or user, conversation_id, delivered, read), answer.set_result)
        return await answer


def draft(conversation_id: str, sender: str = ALICE, text: str = "hello", request_id: bytes | None = None) -> Draft:
    identifier = uuid_utils.uuid7().bytes if request_id is None else request_id
    return Draft(conversation_id, sender, identifier, Message(text.encode()), request_time_ms(identifier))


def day_old_id() -> bytes:
    """Return a UUIDv7 whose time is one day ago."""
    return (int.from_bytes(uuid_utils.uuid7().bytes, "big") - (86_400_000 << 80)).to_bytes(16, "big")


def request_time_ms(request_id: bytes) -> int:
    return uuid7_time_ms(UUID(bytes=request_id)) or 0


def direct(one: str = ALICE, other: str = BOB) -> Creation:
    conversation_id = direct_id(one, other)
    return Creation(conversation_id, one, bytes.fromhex(conversation_id), (one, other), "")


def seq_of(answer: object) -> int:
    assert isinstance(answer, Appended), answer
    return answer.seq


@pytest.fixture
async def database(mongod: Stack, database_name: str) -> AsyncIterator[Database]:
    database = await connect(mongod.mongo_uri, database_name)
    await MongoLog(database).ensure_indexes()
    yield database
    await database.client.drop_database(database_name)
    await database.client.close()


@pytest.fixture
async def redis(valkey: Stack) -> AsyncIterator[Redis]:
    client = Redis.from_url(valkey.redis_url, socket_timeout=1)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def index(database: Database, redis: Redis) -> AsyncIterator[RedisChangeIndex]:
    index = RedisChangeIndex(redis, IndexGeneration(redis, MongoGenerationStore(database), "me", lambda: ["me"]))
    await index.generation.start()
    task = asyncio.create_task(index.generation.run())
    yield index
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
async def inserts(mongod: Stack, database: Database) -> AsyncIterator[tuple[InsertCounter, Database]]:
    """Yield a second client of the same database, whose inserts are counted, and its counter."""
    listener = InsertCounter()
    client: AsyncMongoClient[Document] = AsyncMongoClient(mongod.mongo_uri, event_listeners=[listener])
    counted = client.get_database(
        database.name, write_concern=database.write_concern, read_concern=database.read_concern
    )
    yield listener, counted
    await client.close()


class Owners:
    """A factory of running owners that share the stores."""

    def __init__(self, database: Database, index: ChangeIndex, stack: AsyncExitStack) -> None:
        self._database = database
        self._index = index
        self._stack = stack

    async def start(
        self,
        name: str = "",
        database: Database | None = None,
        limits: OwnerLimits = UNLIMITED,
        terms: RetentionPolicy = KEEP_FOREVER,
        clock: Clock | None = None,
    ) -> RunningOwner:
        ring, publisher = FixedRing.of_one(name or uuid4().hex), RecordedPublisher()
        stores = self._database if database is None else database
        log, conversations = MongoLog(stores), MongoConversationStore(stores)
        clock = clock or SystemClock()
        owner = Owner(log, conversations, self._index, publisher, ring, clock, limits, terms, retain_mentions)
        task = asyncio.create_task(owner.run())
        self._stack.push_async_callback(_end, task)
        return RunningOwner(owner, publisher, ring)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
async def owners(database: Database, index: RedisChangeIndex) -> AsyncIterator[Owners]:
    async with AsyncExitStack() as stack:
        yield Owners(database, index, stack)

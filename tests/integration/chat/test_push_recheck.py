"""The entries that an owner appended before it died are offered for pushes again by the servers that own them now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from chat_service.history.history import History
from chat_service.model.entry import Entry
from chat_service.push import recheck
from chat_service.push.recheck import PushRecheck
from chat_service.storage.change_index import RedisChangeIndex
from chat_service.storage.conversations import MongoConversationStore
from chat_service.storage.log import MongoLog
from chat_service.storage.memberships import MongoMembershipStore
from chat_service.storage.touched_conversations import KEPT_MS, NotingIndex, RedisTouchedConversations
from servicekit.clock import Clock, SystemClock
from servicekit.mongo import Database
from tests.clock import ManualClock
from tests.eventually import eventually
from tests.integration.chat.conftest import ALICE, BOB, FixedRing, Owners, direct, draft, seq_of

pytestmark = pytest.mark.integration

ONE, TWO = "1" * 32, "2" * 32


@dataclass
class RecordedFanOut:
    """A fan-out that records what is offered: users and seqs by conversation."""

    checks: int = 0
    offered: dict[str, list[tuple[set[str], list[int]]]] = field(default_factory=dict)

    async def offer_lost(self) -> int:
        self.checks += 1
        return 0

    def offer_entries(self, users: Collection[str], entries: Sequence[Entry]) -> None:
        offered = set(users), [entry.seq for entry in entries]
        self.offered.setdefault(entries[0].conversation_id, []).append(offered)


class Servers:
    """The chat servers of a test: the processes that run, and what this one owns and offers."""

    def __init__(self, database: Database, redis: Redis, index: RedisChangeIndex) -> None:
        self.running = {"dead@1", "me@1"}
        self.ring = FixedRing.of_one("me")
        self.not_owned: set[str] = set()
        self.fan_out = RecordedFanOut()
        self.log = MongoLog(database)
        self._redis = redis
        history = History(self.log, MongoConversationStore(database), MongoMembershipStore(database), index)
        touched = self.touched_by("me@1")
        self.recheck = PushRecheck(touched, self.fan_out, self.ring, self.owns, history, self.log)

    def touched_by(self, process: str, clock: Clock | None = None) -> RedisTouchedConversations:
        return RedisTouchedConversations(self._redis, process, lambda: self.running, clock or SystemClock())

    def owns(self, conversation_id: str) -> bool:
        return conversation_id not in self.not_owned

    async def checked(self) -> None:
        """Wait until the present ring has been looked at."""
        begun = self.fan_out.checks
        await eventually(lambda: self.fan_out.checks >= begun + 2)

    def change_ring(self) -> None:
        """Activate a ring with the same member, as after the death of another one."""
        self.ring.ring = self.ring.ring.with_members(self.ring.ring.members.values(), self.ring.ring.revision + 1)


@pytest.fixture
async def servers(
    database: Database, redis: Redis, index: RedisChangeIndex, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Servers]:
    monkeypatch.setattr(recheck, "INTERVAL_S", 0.01)
    servers = Servers(database, redis, index)
    task = asyncio.create_task(servers.recheck.run())
    yield servers
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
async def owners(database: Database, index: RedisChangeIndex, servers: Servers) -> AsyncIterator[Owners]:
    """Owners of the process `dead@1`."""
    async with AsyncExitStack() as stack:
        yield Owners(database, NotingIndex(index, servers.touched_by("dead@1")), stack)


async def test_entries_of_a_dead_owner_are_offered_to_all_readers_once(servers: Servers, owners: Owners) -> None:
    running = await owners.start("dead")
    creation = direct()
    await running.create(creation)
    seqs = [seq_of(await running.append(draft(creation.conversation_id))) for _ in range(3)]
    servers.change_ring()
    await servers.checked()
    assert servers.fan_out.offered == {}, "it still runs"
    servers.running.discard("dead@1")
    servers.change_ring()
    expected = {creation.conversation_id: [({ALICE, BOB}, [1, *seqs])]}
    await eventually(lambda: servers.fan_out.offered == expected)
    servers.change_ring()
    await servers.checked()
    assert servers.fan_out.offered == expected


async def test_conversation_that_moves_here_later_is_offered_then(servers: Servers, owners: Owners) -> None:
    running = await owners.start("dead")
    creation = direct()
    await running.create(creation)
    servers.not_owned.add(creation.conversation_id)
    servers.running.discard("dead@1")
    servers.change_ring()
    await servers.checked()
    assert servers.fan_out.offered == {}
    servers.not_owned.clear()
    servers.change_ring()
    await eventually(lambda: servers.fan_out.offered == {creation.conversation_id: [({ALICE, BOB}, [1])]})


async def test_drained_server_leaves_nothing(servers: Servers, owners: Owners) -> None:
    running = await owners.start("dead")
    await running.create(direct())
    await servers.touched_by("dead@1").forget()
    assert await servers.touched_by("me@1").list_dead_processes() == []
    assert await servers.touched_by("me@1").read("dead@1") == {}


async def test_conversations_of_the_last_half_minute_are_noted(servers: Servers) -> None:
    clock = ManualClock()
    touched = servers.touched_by("dead@1", clock)
    await touched.note([ONE])
    clock.advance(KEPT_MS / 1000 - 1)
    await touched.note([TWO])
    assert (await touched.read("dead@1")).keys() == {ONE, TWO}
    clock.advance(2)
    await touched.note([TWO])
    assert await touched.read("dead@1") == {TWO: clock.now_ms()}


async def test_touch_does_not_fail_while_redis_is_away(
    servers: Servers, index: RedisChangeIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Redis(port=1)
    touched = RedisTouchedConversations(nowhere, "me@1", set, SystemClock())
    await NotingIndex(index, touched).touch({ONE: [ALICE]})
    await nowhere.aclose()
    assert await servers.touched_by("me@1").read("me@1") == {}

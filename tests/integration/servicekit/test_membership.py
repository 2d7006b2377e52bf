"""Three servers and a real etcd agree on the ring, and keep it while etcd is unreachable, wiped or corrupted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from etcd3aio.kv import KVService
from prometheus_client import REGISTRY

from servicekit.etcd import Etcd
from servicekit.member_record import MemberRecord
from servicekit.membership import Membership, Superseded
from servicekit.ring import Ring, RingMember
from servicekit.ring_watcher import LEASE_TTL_S, RingWatcher
from tests.eventually import eventually
from tests.integration.servicekit.conftest import EtcdServer

pytestmark = pytest.mark.integration

STARTED = 1_800_000_000_000
# A TTL longer than any test waits, so that no lease expires.
LONG_TTL = 60


def member(number: int, started_ms: int = STARTED) -> RingMember:
    return RingMember(f"chat-{number}", f"10.0.0.{number}:5101", f"10.0.0.{number}:6101", started_ms)


def ring_members_gauge(service: str) -> float | None:
    return REGISTRY.get_sample_value("parley_ring_members", {"service": service})


class MemberServer:
    """A ring member like a server process: it can leave, and it can crash."""

    def __init__(self, etcd: Etcd, me: RingMember, group: asyncio.TaskGroup, ttl: int) -> None:
        self.etcd = etcd
        self.membership = Membership(etcd, me, service="chat", ttl=ttl)
        self.rings: list[tuple[Ring, Ring]] = []
        self.membership.subscribe(lambda old, new: self.rings.append((old, new)))
        self.running = group.create_task(self.membership.run())

    @property
    def ring_members(self) -> set[str]:
        return set(self.membership.ring.members)

    @property
    def lost(self) -> list[set[str]]:
        """The members that were removed from its ring, one set per ring change."""
        return [set(old.members) - set(new.members) for old, new in self.rings]

    async def leave(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def crash(self) -> None:
        """Stop without revoking the lease."""
        self.membership._registration._lease = None
        await self.leave()


class Servers:
    """The servers of a test, each with its own connection."""

    def __init__(self, endpoint: str, group: asyncio.TaskGroup, stack: AsyncExitStack) -> None:
        self.endpoint, self.group, self.stack = endpoint, group, stack
        self.all: list[MemberServer] = []

    async def start(self, number: int, started_ms: int = STARTED, ttl: int = LEASE_TTL_S) -> MemberServer:
        etcd = await self.stack.enter_async_context(Etcd([self.endpoint]))
        server = MemberServer(etcd, member(number, started_ms), self.group, ttl)
        self.all.append(server)
        return server

    async def start_three(self, ttl: int = LEASE_TTL_S) -> list[MemberServer]:
        three = [await self.start(number, ttl=ttl) for number in (1, 2, 3)]
        await self.wait_until_agreed(three, 1, 2, 3)
        return three

    async def wait_until_agreed(self, servers: list[MemberServer], *numbers: int, timeout: float = 10.0) -> None:
        names = {f"chat-{number}" for number in numbers}
        await eventually(lambda: all(server.ring_members == names for server in servers), timeout)


@pytest.fixture
async def servers(etcd_server: EtcdServer) -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        servers = Servers(etcd_server.endpoint, group, stack)
        yield servers
        for server in servers.all:
            server.running.cancel()


async def test_three_servers_see_the_same_ring(servers: Servers) -> None:
    one, two, three = await servers.start_three()
    await one.membership.wait_registered()
    for key in (b"alice", b"bob", b"carol"):
        assert len({each.membership.ring.owner(key) for each in (one, two, three)}) == 1
    assert two.membership.ring.members["chat-3"] == member(3)
    assert ring_members_gauge("chat") == 3
    assert REGISTRY.get_sample_value("parley_etcd_reachable") == 1


async def test_watch_of_another_service_keeps_the_metrics_apart(servers: Servers, etcd: Etcd) -> None:
    await servers.start_three()
    membership = Membership(etcd, member(4), service="notes")
    running = servers.group.create_task(membership.run())
    await membership.wait_registered()
    assert (ring_members_gauge("chat"), ring_members_gauge("notes")) == (3, 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_leaving_member_is_removed_at_once_and_subscribers_notified(servers: Servers) -> None:
    one, two, three = await servers.start_three(LONG_TTL)
    await three.leave()
    await servers.wait_until_agreed([one, two], 1, 2)
    old, new = one.rings[-1]
    assert (set(old.members), set(new.members)) == ({"chat-1", "chat-2", "chat-3"}, {"chat-1", "chat-2"})
    assert new.revision > old.revision


async def test_unsubscribed_callback_is_not_called(servers: Servers) -> None:
    one, _, three = await servers.start_three()
    notified: list[Ring] = []
    unsubscribe = one.membership.subscribe(lambda old, new: notified.append(new))
    unsubscribe()
    await three.leave()
    await servers.wait_until_agreed([one], 1, 2)
    assert notified == []


async def test_dead_member_is_removed_when_lease_expires(servers: Servers) -> None:
    one, two, three = await servers.start_three()
    await three.crash()
    await servers.wait_until_agreed([one, two], 1, 2, timeout=30)


async def test_dead_member_is_expelled_only_with_its_start_time(servers: Servers, etcd: Etcd) -> None:
    one, two, three = await servers.start_three(LONG_TTL)
    await three.crash()
    assert await one.membership.expel_member("chat-3", STARTED - 1)
    assert await one.membership.expel_member("chat-9", STARTED)
    assert await registered(etcd, 1, 2, 3)
    assert await one.membership.expel_member("chat-3", STARTED)
    await servers.wait_until_agreed([one, two], 1, 2)


async def test_live_expelled_member_registers_again(servers: Servers) -> None:
    three = await servers.start_three()
    losses = REGISTRY.get_sample_value("parley_lease_losses_total") or 0
    await three[0].membership.expel_member("chat-3", STARTED)
    await eventually(lambda: all({"chat-3"} in each.lost for each in three))
    await servers.wait_until_agreed(three, 1, 2, 3)
    assert REGISTRY.get_sample_value("parley_lease_losses_total") == losses + 1


async def test_restarted_server_replaces_its_earlier_registration(servers: Servers) -> None:
    one, _, three = await servers.start_three()
    await three.crash()
    await (await servers.start(3, STARTED + 1)).membership.wait_registered()
    await eventually(lambda: one.membership.ring.members["chat-3"].started_ms == STARTED + 1)
    assert one.rings[-1][0].members["chat-3"].started_ms == STARTED


async def test_superseded_server_ends_and_keeps_its_successor_registered(servers: Servers, etcd: Etcd) -> None:
    earlier = Membership(etcd, member(1, STARTED - 1), service="chat")
    running = asyncio.create_task(earlier.run())
    await earlier.wait_registered()
    later = await servers.start(1)
    with pytest.raises(ExceptionGroup) as ended:
        await running
    assert ended.group_contains(Superseded)
    await later.membership.wait_registered()
    assert await registered(etcd, 1), "the superseded server revokes its own registration and not its successor's"


async def test_restarted_server_with_clock_behind_waits_for_lease_expiry(servers: Servers) -> None:
    dead = await servers.start(1, STARTED + 1000)
    await dead.membership.wait_registered()
    await dead.crash()
    new = await servers.start(1, STARTED)
    async with asyncio.timeout(30):
        await new.membership.wait_registered()


async def test_deleted_record_is_registered_again(servers: Servers, etcd: Etcd) -> None:
    three = await servers.start_three()
    await etcd._client.kv.delete("/parley/chat/chat-3")
    await eventually(lambda: all({"chat-3"} in each.lost for each in three))
    await servers.wait_until_agreed(three, 1, 2, 3)


async def test_malformed_record_is_ignored(servers: Servers, etcd: Etcd) -> None:
    three = await servers.start_three()
    assert await etcd.put_if_unchanged("/parley/chat/odd", None, b"not a record", 0)
    revision = (await etcd.list_prefix("/parley/chat/")).revision
    await eventually(lambda: all(server.membership.ring.revision >= revision for server in three), 5)
    await servers.wait_until_agreed(three, 1, 2, 3)


async def test_ring_stays_while_etcd_is_down_and_updates_afterwards(servers: Servers, etcd_server: EtcdServer) -> None:
    three = await servers.start_three()
    before = [len(server.rings) for server in three]
    etcd_server.stop()
    await eventually(lambda: REGISTRY.get_sample_value("parley_etcd_reachable") == 0)
    # Wait longer than any lease lives: no member may be removed.
    await asyncio.sleep(LEASE_TTL_S + 1)
    await servers.wait_until_agreed(three, 1, 2, 3)
    await etcd_server.start()
    await (await servers.start(4)).membership.wait_registered()
    await servers.wait_until_agreed(servers.all, 1, 2, 3, 4)
    assert not any(lost for server in three for lost in server.lost)
    assert [len(server.rings) for server in three] == [count + 1 for count in before]


async def test_skipped_member_is_outside_the_ring_of_one_server_until_its_record_changes(
    servers: Servers, etcd_server: EtcdServer
) -> None:
    one, two, three = await servers.start_three()
    etcd_server.freeze()
    await three.crash()
    one.membership.skip_member("chat-3", STARTED - 1)
    assert one.ring_members == {"chat-1", "chat-2", "chat-3"}, "an earlier process of the server"
    one.membership.skip_member("chat-3", STARTED)
    assert (one.ring_members, set(one.membership.registered)) == ({"chat-1", "chat-2"}, set(two.ring_members))
    assert two.ring_members == {"chat-1", "chat-2", "chat-3"}
    one.membership.restore_member("chat-3")
    assert one.ring_members == two.ring_members
    one.membership.skip_member("chat-3", STARTED)
    etcd_server.thaw()
    await servers.wait_until_agreed([one, two], 1, 2, timeout=30)
    again = await servers.start(3, STARTED + 1)
    await servers.wait_until_agreed([one, two, again], 1, 2, 3, timeout=30)


async def test_ring_stays_when_etcd_loses_its_data(servers: Servers, etcd_server: EtcdServer) -> None:
    three = await servers.start_three()
    for _ in range(5):
        await three[0].membership._etcd.grant(3)
    etcd_server.stop()
    etcd_server.wipe()
    await etcd_server.start()
    async with Etcd([etcd_server.endpoint]) as etcd:
        await eventually(lambda: registered(etcd, 1, 2, 3))
    await servers.wait_until_agreed(three, 1, 2, 3)
    assert not any(lost for server in three for lost in server.lost)


async def test_etcd_frozen_beyond_lease_ttl_removes_one_member_at_most(
    servers: Servers, etcd_server: EtcdServer
) -> None:
    three = await servers.start_three()
    etcd_server.freeze()
    await eventually(lambda: REGISTRY.get_sample_value("parley_etcd_reachable") == 0)
    # When etcd resumes, every lease has expired before any server could renew it.
    await asyncio.sleep(LEASE_TTL_S + 1)
    await servers.wait_until_agreed(three, 1, 2, 3)
    etcd_server.thaw()
    await eventually(lambda: REGISTRY.get_sample_value("parley_etcd_reachable") == 1)
    await servers.wait_until_agreed(three, 1, 2, 3)
    for server in three:
        sizes = [len(new.members) for _, new in server.rings]
        assert min(sizes[sizes.index(3) :]) >= 2


async def test_loss_of_two_of_three_members_is_damped(servers: Servers, etcd: Etcd) -> None:
    one, two, three = await servers.start_three()
    for server in (two, three):
        await server.crash()
    began = asyncio.get_running_loop().time()
    await etcd._client.kv.txn([], [KVService.txn_op_delete(f"/parley/chat/chat-{number}") for number in (2, 3)])
    await servers.wait_until_agreed([one], 1)
    assert asyncio.get_running_loop().time() - began >= LEASE_TTL_S
    assert [set(new.members) for _, new in one.rings[-1:]] == [{"chat-1"}]


async def test_two_of_three_members_that_leave_are_no_loss(servers: Servers) -> None:
    one, two, three = await servers.start_three()
    await asyncio.gather(one.leave(), two.leave())
    await servers.wait_until_agreed([three], 3, timeout=LEASE_TTL_S / 2)


async def test_members_that_all_leave_stay_in_the_ring_of_an_observer(servers: Servers, etcd: Etcd) -> None:
    watcher = RingWatcher(etcd, service="chat")
    watching = servers.group.create_task(watcher.run())
    three = await servers.start_three()
    await watcher.wait_until(lambda ring: len(ring.members) == 3)
    await asyncio.gather(*(server.leave() for server in three))
    assert watcher.ring.members
    watching.cancel()


async def test_two_of_three_members_back_in_time_stay_in_the_ring(servers: Servers, etcd: Etcd) -> None:
    three = await servers.start_three()
    before = [len(server.rings) for server in three]
    gone = [KVService.txn_op_delete(f"/parley/chat/chat-{number}") for number in (2, 3)]
    deleted = (await etcd._client.kv.txn([], gone)).header.revision
    await eventually(lambda: registered(etcd, 1, 2, 3))
    await eventually(lambda: all(server.membership.ring.revision >= deleted for server in three), 5)
    assert [len(server.rings) for server in three] == before


async def registered(etcd: Etcd, *numbers: int) -> bool:
    records = (await etcd.list_prefix("/parley/chat/")).values.values()
    return {MemberRecord.from_bytes(each).member for each in records} == {member(number) for number in numbers}

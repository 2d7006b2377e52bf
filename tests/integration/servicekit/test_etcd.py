"""Leases and watches on a real etcd that is compacted, stopped, frozen and wiped."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from servicekit import prefix_watch
from servicekit.config import ConfigurationError
from servicekit.etcd import Etcd, EtcdUnreachable, LeaseLost, Snapshot
from tests.eventually import eventually
from tests.integration.servicekit.conftest import EtcdServer

pytestmark = pytest.mark.integration

PREFIX = "/test/"


class WatchRecorder:
    """A watch of the prefix that records its snapshots."""

    def __init__(self, etcd: Etcd) -> None:
        self.watch = etcd.watch_prefix(PREFIX)
        self.snapshots: list[Snapshot] = []

    @property
    def values(self) -> dict[str, bytes]:
        return self.snapshots[-1].values if self.snapshots else {"": b"nothing seen"}

    async def run(self) -> None:
        async for snapshot in self.watch:
            self.snapshots.append(snapshot)


@pytest.fixture
async def recorder(etcd: Etcd) -> AsyncIterator[WatchRecorder]:
    recorder = WatchRecorder(etcd)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(recorder.run())
        await eventually(lambda: recorder.snapshots)
        yield recorder
        running.cancel()


async def put(etcd: Etcd, key: str, value: bytes, lease: int = 0) -> None:
    old = await etcd.get(PREFIX + key)
    assert await etcd.put_if_unchanged(PREFIX + key, old, value, lease)


async def test_value_lives_as_long_as_its_lease(etcd: Etcd, recorder: WatchRecorder) -> None:
    lease = await etcd.grant(3)
    await put(etcd, "a", b"1", lease)
    await eventually(lambda: recorder.values == {"a": b"1"})
    await etcd.keep_alive(lease)
    await etcd.revoke(lease)
    await eventually(lambda: recorder.values == {})
    with pytest.raises(LeaseLost):
        await etcd.keep_alive(lease)
    with pytest.raises(LeaseLost):
        await etcd.put_if_unchanged(PREFIX + "a", None, b"1", lease)
    await etcd.revoke(lease)


async def test_changed_value_is_not_replaced(etcd: Etcd) -> None:
    assert await etcd.put_if_unchanged("/k", None, b"1", 0)
    assert not await etcd.put_if_unchanged("/k", None, b"2", 0)
    assert not await etcd.put_if_unchanged("/k", b"0", b"2", 0)
    assert await etcd.put_if_unchanged("/k", b"1", b"2", 0)
    assert await etcd.get("/k") == b"2"


async def test_watch_begins_with_current_values_and_sees_each_change(etcd: Etcd) -> None:
    await put(etcd, "a", b"1")
    recorder = WatchRecorder(etcd)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(recorder.run())
        await eventually(lambda: recorder.values == {"a": b"1"})
        await put(etcd, "b", b"2")
        await put(etcd, "a", b"3")
        await eventually(lambda: recorder.values == {"a": b"3", "b": b"2"})
        running.cancel()
    revisions = [snapshot.revision for snapshot in recorder.snapshots]
    assert revisions == sorted(set(revisions))


async def test_calls_time_out_without_etcd(etcd_server: EtcdServer, etcd: Etcd) -> None:
    lease = await etcd.grant(3)
    etcd_server.freeze()
    async with asyncio.timeout(30):
        for question in (
            etcd.grant(3),
            etcd.keep_alive(lease),
            etcd.revoke(lease),
            etcd.list_prefix(PREFIX),
            etcd.get("/k"),
        ):
            with pytest.raises(EtcdUnreachable):
                await question
    etcd_server.stop()
    with pytest.raises(EtcdUnreachable):
        await etcd.keep_alive(lease)


async def test_watch_catches_up_after_disconnect_and_compaction(
    etcd_server: EtcdServer, etcd: Etcd, recorder: WatchRecorder
) -> None:
    await put(etcd, "gone", b"1")
    await eventually(lambda: "gone" in recorder.values)
    etcd_server.stop()
    seen = len(recorder.snapshots)
    await etcd_server.start()
    async with Etcd([etcd_server.endpoint]) as other:
        await eventually(lambda: other.list_prefix(PREFIX))
        lease = await other.grant(3)
        await put(other, "gone", b"2", lease)
        await other.revoke(lease)
        await put(other, "new", b"1")
        # After the compaction the earlier changes cannot be watched any more.
        await other._client.kv.compact((await other.list_prefix(PREFIX)).revision)
    await eventually(lambda: recorder.values == {"new": b"1"})
    assert len(recorder.snapshots) > seen


async def test_watch_behind_compaction_lists_again(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(etcd, "a", b"1")
    await put(etcd, "a", b"2")
    listed = etcd.list_prefix

    async def compacted_behind_the_list(prefix: str) -> Snapshot:
        monkeypatch.setattr(etcd, "list_prefix", listed)
        snapshot = await listed(prefix)
        await put(etcd, "b", b"1")
        await put(etcd, "b", b"2")
        await etcd._client.kv.compact((await listed(prefix)).revision)
        return snapshot

    monkeypatch.setattr(etcd, "list_prefix", compacted_behind_the_list)
    recorder = WatchRecorder(etcd)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(recorder.run())
        await eventually(lambda: recorder.values == {"a": b"2", "b": b"2"})
        running.cancel()
    assert recorder.snapshots[0].values == {"a": b"2"}


async def test_watch_follows_wiped_store(etcd_server: EtcdServer, etcd: Etcd, recorder: WatchRecorder) -> None:
    for n in range(5):
        await put(etcd, "a", b"%d" % n)
    await eventually(lambda: recorder.values == {"a": b"4"})
    etcd_server.stop()
    etcd_server.wipe()
    await etcd_server.start()
    await eventually(lambda: recorder.values == {})


async def test_silent_watch_compares_revisions(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix_watch, "SILENCE_TIMEOUT_S", 0.2)
    asked = 0
    revision = etcd.revision

    async def counted() -> int:
        nonlocal asked
        asked += 1
        return await revision()

    monkeypatch.setattr(etcd, "revision", counted)
    recorder = WatchRecorder(etcd)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(recorder.run())
        await eventually(lambda: asked >= 2)
        assert len(recorder.snapshots) == 1, "the watch continues if no change was missed"
        await etcd.put_if_unchanged("/elsewhere", None, b"1", 0)
        await eventually(lambda: len(recorder.snapshots) == 2)
        await put(etcd, "a", b"1")
        await eventually(lambda: recorder.values == {"a": b"1"})
        running.cancel()


@pytest.mark.parametrize("endpoints", [[], ["etcd-0:2379", "etcd-1:2379"], ["127.0.0.1:1", "name:2"]])
def test_unusable_endpoints_are_a_configuration_error(endpoints: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="PARLEY_ETCD_ENDPOINTS"):
        Etcd(endpoints)


async def test_client_works_while_one_endpoint_answers(etcd_server: EtcdServer) -> None:
    async with Etcd(["127.0.0.1:1", etcd_server.endpoint]) as etcd:
        for _ in range(6):
            await etcd.keep_alive(await etcd.grant(3))

"""A real S3 store is killed, frozen and restarted while the store of objects uses it."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace

import httpx2
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from devstack.managed_process import ManagedProcess
from devstack.stack import Stack
from media_service.storage.s3 import S3ObjectStore
from media_service.storage.s3_transport import S3Limits
from servicekit.clock import SystemClock
from servicekit.errors import StoreUnavailable
from tests.eventually import eventually
from tests.s3 import s3_settings

pytestmark = pytest.mark.integration

MIB = 1 << 20
# The time limits of these tests, and how much longer a call may take on a busy machine.
LIMIT_S = 1.0
LIMITS = S3Limits(connect_s=LIMIT_S, control_s=LIMIT_S, complete_s=LIMIT_S, chunk_s=LIMIT_S)
MARGIN_S = 4.0

Call = Callable[[S3ObjectStore], Awaitable[object]]


@pytest.fixture
def server(own_seaweedfs: Stack) -> ManagedProcess:
    return own_seaweedfs.processes["seaweedfs"]


@pytest.fixture
async def store(own_seaweedfs: Stack, server: ManagedProcess) -> AsyncIterator[S3ObjectStore]:
    store = S3ObjectStore(s3_settings(own_seaweedfs), SystemClock(), LIMITS)
    await restart(server, store)
    yield store
    await restart(server, store)
    await store.close()


async def restart(server: ManagedProcess, store: S3ObjectStore) -> None:
    """Run the server again, and wait until it serves requests."""
    server.resume()
    server.start()
    await asyncio.to_thread(server.wait_healthy)
    key = new_key()

    async def stores_and_reads() -> bool:
        # It answers before its volumes can be used.
        with suppress(StoreUnavailable):
            await put(store, key)
            return await size_read(store, key) == MIB
        return False

    await eventually(stores_and_reads, timeout=30)


async def zeros(size: int, *, then: Callable[[], object] = lambda: None, at: int = 0) -> AsyncIterator[bytes]:
    """Yield `size` zero bytes, and call `then` after the first `at`."""
    for given in range(0, size, MIB):
        if given == at:
            then()
        yield bytes(MIB)


async def put(store: S3ObjectStore, key: str, size: int = MIB) -> None:
    await store.put(key, size, zeros(size))


async def size_read(store: S3ObjectStore, key: str) -> int:
    return sum([len(chunk) async for chunk in store.read(key)])


def new_key() -> str:
    return f"outage/{uuid.uuid4().hex}"


CALLS: dict[str, Call] = {
    "put": lambda store: put(store, new_key()),
    "read": lambda store: size_read(store, new_key()),
    "size_of": lambda store: store.size_of(new_key()),
    "delete": lambda store: store.delete([new_key(), new_key()]),
    "create_parts": lambda store: store.create_parts(new_key()),
    "list_parts": lambda store: store.list_parts(new_key(), "id"),
    "complete_parts": lambda store: store.complete_parts(new_key(), "id", []),
    "abort_parts": lambda store: store.abort_parts(new_key()),
    "prepare": lambda store: store.prepare(),
}


async def assert_unavailable_in_time(store: S3ObjectStore, call: Call) -> None:
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await call(store)
    assert time.monotonic() - started < LIMIT_S + MARGIN_S


async def test_calls_fail_while_the_store_is_down_and_succeed_after_its_return(
    store: S3ObjectStore, server: ManagedProcess
) -> None:
    key = new_key()
    await put(store, key)
    server.kill()
    for call in CALLS.values():
        await assert_unavailable_in_time(store, call)
    await restart(server, store)
    assert await size_read(store, key) == MIB
    await put(store, new_key())


async def test_calls_fail_in_time_while_the_store_is_frozen(store: S3ObjectStore, server: ManagedProcess) -> None:
    key = new_key()
    await put(store, key)
    server.freeze()
    async with asyncio.TaskGroup() as group:
        for call in CALLS.values():
            group.create_task(assert_unavailable_in_time(store, call))
    assert store.sign_part(key, "id", 1, 5, 60)
    server.resume()
    assert await size_read(store, key) == MIB


@pytest.mark.parametrize("outage", [ManagedProcess.kill, ManagedProcess.freeze])
async def test_outage_in_the_middle_of_a_put_is_reported(
    store: S3ObjectStore, server: ManagedProcess, outage: Callable[[ManagedProcess], None]
) -> None:
    key, size = new_key(), 64 * MIB
    with pytest.raises(StoreUnavailable):
        await store.put(key, size, zeros(size, then=lambda: outage(server), at=8 * MIB))
    await restart(server, store)
    assert await store.size_of(key) is None
    await put(store, key, size)
    assert await size_read(store, key) == size


@pytest.mark.parametrize("outage", [ManagedProcess.kill, ManagedProcess.freeze])
async def test_outage_in_the_middle_of_a_read_is_reported(
    store: S3ObjectStore, server: ManagedProcess, outage: Callable[[ManagedProcess], None]
) -> None:
    key, size = new_key(), 64 * MIB
    await put(store, key, size)
    async with aclosing(store.read(key)) as chunks:
        assert await anext(chunks)
        outage(server)
        with pytest.raises(StoreUnavailable):
            assert [chunk async for chunk in chunks]
    await restart(server, store)
    assert await size_read(store, key) == size


@pytest.mark.parametrize("outage", [ManagedProcess.kill, ManagedProcess.freeze])
async def test_parts_survive_an_outage_and_are_joined_after_it(
    store: S3ObjectStore, server: ManagedProcess, outage: Callable[[ManagedProcess], None]
) -> None:
    key, parts = new_key(), [os.urandom(5 * MIB), b"the last"]
    upload_id = await store.create_parts(key)
    async with httpx2.AsyncClient(trust_env=False) as client:
        for number, part in enumerate(parts, 1):
            url = store.sign_part(key, upload_id, number, len(part), 60)
            (await client.put(url, content=part)).raise_for_status()
    stored = await store.list_parts(key, upload_id)
    outage(server)
    await assert_unavailable_in_time(store, lambda store: store.complete_parts(key, upload_id, stored))
    await restart(server, store)
    if await store.size_of(key) is None:
        assert await store.list_parts(key, upload_id) == stored
        await store.complete_parts(key, upload_id, stored)
    assert b"".join([chunk async for chunk in store.read(key)]) == b"".join(parts)


async def test_call_after_a_restart_succeeds_at_once(store: S3ObjectStore, server: ManagedProcess) -> None:
    # Its connections from before the restart are closed by then.
    key = new_key()
    await put(store, key)
    server.kill()
    await restart(server, store)
    assert await store.size_of(key) == MIB
    assert await size_read(store, key) == MIB


async def test_outage_is_logged_and_measured_once(store: S3ObjectStore, server: ManagedProcess) -> None:
    await store.size_of(new_key())
    assert REGISTRY.get_sample_value("parley_s3_up") == 1
    before = REGISTRY.get_sample_value("parley_s3_failures_total", {"operation": "size_of"}) or 0
    with capture_logs() as logged:
        server.kill()
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await store.size_of(new_key())
    assert [(line["event"], line["log_level"]) for line in logged] == [("S3 outage began", "warning")]
    assert logged[0]["operation"] == "size_of"
    assert REGISTRY.get_sample_value("parley_s3_up") == 0
    with capture_logs() as logged:
        await restart(server, store)
        for _ in range(3):
            await store.size_of(new_key())
    assert [line["event"] for line in logged][-1:] == ["S3 outage ended"]
    assert REGISTRY.get_sample_value("parley_s3_up") == 1
    assert REGISTRY.get_sample_value("parley_s3_failures_total", {"operation": "size_of"}) == before + 3


async def test_transfers_beyond_the_limit_are_refused_and_control_calls_are_served(
    store: S3ObjectStore, own_seaweedfs: Stack
) -> None:
    limited = S3ObjectStore(s3_settings(own_seaweedfs), SystemClock(), replace(LIMITS, transfers=2))
    key = new_key()
    await put(limited, key, 16 * MIB)
    async with aclosing(limited.read(key)) as one, aclosing(limited.read(key)) as two:
        await anext(one)
        await anext(two)
        with capture_logs() as logged, pytest.raises(StoreUnavailable, match="in use"):
            await size_read(limited, key)
        assert logged == []
        assert await limited.size_of(key) == 16 * MIB
    assert await size_read(limited, key) == 16 * MIB
    await limited.close()

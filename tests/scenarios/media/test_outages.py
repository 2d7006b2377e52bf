"""A part fails: what needs it says so and can be tried again, and everything else goes on."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from devstack.stack import Stack
from parley.media.v1 import media_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.media import frames_of
from tests.raw.refusal import Refusal, of_error
from tests.raw.world import World
from tests.scenarios.media.conftest import Files
from tests.scenarios.media.test_access import reference

pytestmark = pytest.mark.scenario

STORE_UNAVAILABLE = ("UNAVAILABLE", "STORE_UNAVAILABLE")
SERVICE_UNAVAILABLE = ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
# A request to the store ends after this time at the latest, with a margin.
PATIENCE_S = 40.0


@pytest.fixture
async def fragile_files(fragile_world: World) -> AsyncIterator[Files]:
    files = Files(fragile_world)
    yield files
    await files.close()


@pytest.fixture
async def alice(fragile_world: World) -> RawDevice:
    alice = await fragile_world.user("alice")
    await alice.connect()
    return alice


async def health_of(world: World, service: str) -> int:
    """Return the status of a service or part of the first media server."""
    channel = world.channel(world.stack.replicas("media")[0].internal_address)
    check: Any = channel.unary_unary(
        "/grpc.health.v1.Health/Check", response_deserializer=health_pb2.HealthCheckResponse.FromString
    )
    response = await check(health_pb2.HealthCheckRequest(service=service).SerializeToString(), timeout=10)
    return int(response.status)


async def refusal_of(attempt: object) -> Refusal:
    """Return the refusal of an attempt, which must come in time. Raises AssertionError if it succeeds."""
    started_at = time.monotonic()
    try:
        await attempt  # type: ignore[misc]
    except grpc.aio.AioRpcError as error:
        assert time.monotonic() - started_at < PATIENCE_S
        return of_error(error)
    raise AssertionError("not refused")


async def retried(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """Return the result of an attempt, which is repeated while the refusal asks for that."""
    results = []

    async def succeeds() -> bool:
        try:
            results.append(await attempt())
        except grpc.aio.AioRpcError as error:
            if of_error(error).retry_after is None:
                raise
        return bool(results)

    await eventually(succeeds, timeout=PATIENCE_S)
    return results[0]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_store_of_objects_fails_and_chat_goes_on(
    fragile_world: World, fragile_files: Files, fragile_stack: Stack, alice: RawDevice, fault: str
) -> None:
    bob = await fragile_world.user("bob")
    media, conversation = fragile_files.of(alice), await alice.direct(bob)
    # The store may just have been started again.
    before = await retried(partial(media.upload, os.urandom(1000)))
    store = fragile_stack.processes["seaweedfs"]
    (store.kill if fault == "killed" else store.freeze)()
    async with asyncio.TaskGroup() as group:
        attempts = [
            group.create_task(refusal_of(media.upload(os.urandom(100_000)))),
            group.create_task(refusal_of(media.create(os.urandom(1000)))),
            group.create_task(refusal_of(media.download(before.media_id))),
        ]
        await alice.sent(conversation, "still here")
        # The file is in the store; only its record is needed to refer to it.
        seq = await alice.sent(conversation, reference(before.media_id))
    for attempt in attempts:
        assert attempt.result().code_and_reason == STORE_UNAVAILABLE
        assert attempt.result().retry_after is not None
    assert await health_of(fragile_world, "s3") == health_pb2.HealthCheckResponse.NOT_SERVING
    assert await health_of(fragile_world, "") == health_pb2.HealthCheckResponse.SERVING
    (store.start if fault == "killed" else store.resume)()

    assert len((await retried(partial(media.download, before.media_id))).data) == 1000
    assert await health_of(fragile_world, "s3") == health_pb2.HealthCheckResponse.SERVING
    assert seq


async def test_media_service_is_down_and_texts_go_on(
    fragile_world: World, fragile_files: Files, fragile_stack: Stack, alice: RawDevice
) -> None:
    bob = await fragile_world.user("bob")
    media, conversation = fragile_files.of(alice), await alice.direct(bob)
    file = await retried(partial(media.upload, os.urandom(1000)))
    for replica in fragile_stack.replicas("media"):
        replica.kill()
    refused = await alice.send(conversation, reference(file.media_id))
    texts = [await alice.sent(conversation, f"text {number}") for number in range(3)]
    assert texts == sorted(texts)
    answer = await alice.next_result(refused, timeout=PATIENCE_S)
    assert answer.HasField("refused")
    assert (await refusal_of(media.get(file.media_id))).code_and_reason == SERVICE_UNAVAILABLE
    for replica in fragile_stack.replicas("media"):
        replica.start()
        replica.wait_healthy()
    await asyncio.to_thread(fragile_stack.wait_envoy_healthy)

    async def is_sent() -> bool:
        result = await alice.next_result(await alice.send(conversation, reference(file.media_id)))
        return result.HasField("appended")

    await eventually(is_sent, timeout=PATIENCE_S)


async def test_replicas_of_media_restart_one_after_the_other_and_no_upload_is_lost(
    fragile_world: World, fragile_files: Files, fragile_stack: Stack, alice: RawDevice
) -> None:
    media = fragile_files.of(alice)
    second = await asyncio.to_thread(fragile_stack.add_replica, "media")
    restarted = asyncio.Event()
    uploaded = []

    async def upload_always() -> None:
        while not restarted.is_set():
            data = os.urandom(50_000)
            frames = frames_of(data)
            # A server that drains takes no new streams; the same upload is sent again, to another one.
            uploaded.append((data, await retried(partial(media.stream, frames))))

    async def restart() -> None:
        for replica in fragile_stack.replicas("media"):
            await asyncio.to_thread(replica.terminate)
            await asyncio.to_thread(replica.start)
            await asyncio.to_thread(replica.wait_healthy)
            await asyncio.to_thread(fragile_stack.wait_envoy_healthy)
        restarted.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(upload_always())
        group.create_task(restart())
    assert uploaded
    for data, file in uploaded:
        assert (await media.download(file.media_id)).data == data
        assert file.state == media_pb2.MEDIA_STATE_READY
    await asyncio.to_thread(fragile_stack.remove_replica, second.name)

"""The recording of a system of this commit, which tests of later commits read."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from devstack.services import SERVICES, with_replicas
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2
from servicekit.etcd import Etcd
from tests.compat import story
from tests.compat.recorder import recorded
from tests.compat.recording import Recording
from tests.compat.story import Story
from tests.raw.bucket import Bucket
from tests.raw.device import text
from tests.raw.pushes import QUEUE, Pushes
from tests.raw.watcher import beating
from tests.raw.world import World

ROOT = Path(__file__).parents[2]
CHAT_SERVERS = 2
# The last data of a deleted account goes at once, and servers end soon.
ENVIRONMENT = {"PARLEY_DELETION_MARGIN_SECONDS": "1"}


async def record(folder: Path) -> Recording:
    """Run a system in `folder`, let users do all that a story tells, and return the recording."""
    services = with_replicas(with_replicas(SERVICES, "notify", 1), "presence", 1)
    stack = Stack(folder, CHAT_SERVERS, services=services, environment=ENVIRONMENT)
    recording = Recording(head_commit())
    async with recorded(stack) as recording.exchanges:
        await asyncio.to_thread(stack.start)
        try:
            async with World(stack) as world:
                await _play(world, recording)
        finally:
            await asyncio.to_thread(stack.stop)
    return recording


async def _play(world: World, recording: Recording) -> None:
    told = await story.begin(world)
    async with beating(told.devices):
        await story.write(told)
        await story.watch(told)
        await story.sign_out(told)
        await story.register_for_pushes(told)
        await story.leave(told)
        await story.export(told)
        for server in world.stack.chat_servers:
            await story.ask_directory(told, server)
        async with Etcd([world.stack.etcd_endpoint]) as etcd:
            recording.members = list((await etcd.list_prefix("/parley/")).values.values())
        await _record_pushes(told, recording)
    recording.answers = await story.answers(told)
    for device in told.devices:
        await device.close()
    for name in ("presence-1", *(server.name for server in world.stack.chat_servers)):
        await asyncio.to_thread(world.stack.processes[name].terminate)
    await _record_stores(world.stack, recording)


async def _record_pushes(told: Story, recording: Recording) -> None:
    """Record events that wait in the queue, the other keys of Redis, and what is sent for the events."""
    world, notify = told.world, told.world.stack.processes["notify-1"]
    redis: Any = Redis.from_url(world.stack.redis_url)
    async with Pushes(world) as pushes, redis:
        await pushes.wait_drained()
        before = len(pushes.recorded(told.bob, told.carol))
        await asyncio.to_thread(notify.terminate)
        await told.bob.close()
        seq = await told.alice.sent(told.group, text("to be read"))
        await pushes.wait_queued(recipients=2)
        receipt = chat_pb2.Receipt(conversation_id=told.group, delivered_seq=seq, read_seq=seq)
        await told.carol.call(chat_pb2.UpdateReceiptsRequest(receipts=[receipt]))
        await told.alice.sent(told.direct, text("while bob is away"))
        await told.alice.sent(told.group, text("to be pushed"))
        await pushes.wait_queued(recipients=5)
        recording.events = [fields[b"event"] for _, fields in await redis.xrange(QUEUE)]
        # As long as Redis does not know of the pushes, a test can have them sent again.
        keys = [key for key in sorted(await redis.keys()) if QUEUE.encode() not in key]
        recording.keys = [(key, await redis.dump(key)) for key in keys]
        await asyncio.to_thread(notify.start)
        await asyncio.to_thread(notify.wait_healthy)
        await asyncio.to_thread(world.stack.wait_envoy_healthy)
        await pushes.wait_drained()
        recording.pushes = pushes.recorded(told.bob, told.carol)[before:]


async def _record_stores(stack: Stack, recording: Recording) -> None:
    client: AsyncMongoClient[RawBSONDocument] = AsyncMongoClient(stack.mongo_uri, document_class=RawBSONDocument)
    async with client:
        database = client["parley"]
        async for found in await database.list_collections():
            name = found["name"]
            recording.options[name] = dict(found["options"])
            recording.documents[name] = [bytes(each.raw) async for each in database[name].find()]
    bucket = Bucket(stack)
    recording.objects = {key: await bucket.get(key) for key in await bucket.objects()}


def head_commit() -> str:
    """Return the short name of the checked-out commit."""
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()

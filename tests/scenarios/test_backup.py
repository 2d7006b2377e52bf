"""A backup by docs/backup.md, restored to a new system with an empty Redis and an empty etcd, loses nothing.

One is a copy of MongoDB's files, the other a dump that is taken while users write.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from devstack.services import CHAT, MEDIA
from devstack.stack import Stack
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2, entry_pb2
from servicekit.redis import connect_redis
from tests.eventually import eventually
from tests.mongo_dump import Document, MongoDump
from tests.raw.bucket import Bucket
from tests.raw.device import RawDevice, new_id, text
from tests.raw.media import RawMedia
from tests.raw.world import PASSWORD, World
from tests.scenarios.conftest import ENVIRONMENT

pytestmark = pytest.mark.scenario

SERVICES = (CHAT, MEDIA)
PICTURE = b"the bytes of a file" * 1000
RATES = {f"PARLEY_{each}_PER_SECOND": "1000" for each in ("SENDS", "CALLS", "ENTRIES")}
OTHER_GENERATION = chat_pb2.Changes.RESYNC_OTHER_GENERATION


async def test_restored_system_has_all_and_its_devices_resume(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    with Stack(old, 2, services=SERVICES, environment=ENVIRONMENT) as stack:
        async with World(stack) as world:
            play = Play(world)
            await play.perform()
            # Their devices are as they are when the system is gone.
            shown = await play.describe(world, play.devices)
            objects = await asyncio.to_thread(back_up, stack, new)
    with before_services(new):
        pass
    with Stack(new, 2, services=SERVICES, environment=ENVIRONMENT) as stack:
        await restore_objects(stack, objects)
        async with World(stack) as world:
            devices = {name: world.move(device) for name, device in play.devices.items()}
            assert await play.describe(world, devices) == shown
            await play.resume(world, devices)


def back_up(stack: Stack, folder: Path) -> Mapping[str, bytes]:
    """Copy MongoDB's files while it takes no writes, then the secrets; return the objects, which are copied last."""
    with MongoClient[dict[str, Any]](stack.mongo_uri) as client:
        client.admin.command("fsync", lock=True)
        try:
            shutil.copytree(stack.layout.folder / "data/mongod", folder / "data/mongod")
        finally:
            client.admin.command("fsyncUnlock")
    (folder / "data/mongod/mongod.lock").unlink()
    shutil.copytree(stack.layout.folder / "secrets", folder / "secrets")
    return Bucket(stack).read_all()


@contextmanager
def before_services(folder: Path) -> Iterator[MongoClient[Document]]:
    """Yield the MongoDB of a new system, which runs alone; then advance the generation of the change index."""
    with Stack(folder, only=["mongod"]) as stack, MongoClient[Document](stack.mongo_uri) as client:
        yield client
        done = client["parley"].meta.update_one({"_id": "change_index"}, {"$inc": {"generation": 1000}})
        assert done.matched_count == 1


async def restore_objects(stack: Stack, objects: Mapping[str, bytes]) -> None:
    """Write the objects to the empty bucket of a new system."""
    bucket = Bucket(stack)
    for key, data in objects.items():
        await bucket.put(key, data)


class Play:
    """Three users with a group, a 1-1 conversation and a file; one of them is offline at the end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.devices: dict[str, RawDevice] = {}
        self.group = self.direct = self.media_id = self.sent_id = self.login_name = ""
        self.first = self.head = 0

    async def perform(self) -> None:
        """Let them talk until the backup."""
        world = self._world
        alice, bob, carol = await world.register("alice"), *await world.users("bob", "carol")
        self.devices = {"alice": alice, "bob": bob, "carol": carol}
        self.login_name = (await alice.call(account_pb2.GetProfileRequest())).profile.login_name
        for device in (alice, bob, carol):
            await device.connect()
        self.group, self.direct = await alice.group("Friday", [bob, carol]), await bob.direct(alice)
        self.first = first = await alice.sent(self.group, "see you at 8")
        await bob.sent(self.direct, "for you alone")
        await carol.has_all(self.group, first)
        await carol.receipt(self.group, delivered=first, read=first)
        await alice.has_receipts(self.group, carol, delivered=first, read=first)
        await carol.close()
        await self._change(alice, first)
        files = RawMedia(alice, world.channel(world.stack.door))
        self.media_id = (await files.upload(PICTURE)).media_id
        await files.close()
        content = text("")
        content.media.media_id = self.media_id
        await alice.sent(self.group, content)
        self.sent_id = new_id()
        self.head = await bob.sent(self.group, "the last one", client_message_id=self.sent_id)
        await alice.has_all(self.group, self.head)

    async def _change(self, alice: RawDevice, first: int) -> None:
        """Edit, delete and react, so that entries rewrite others."""
        gone = await alice.sent(self.group, "not this")
        edit = chat_pb2.EditMessageRequest(request_id=new_id(), conversation_id=self.group, target_seq=first)
        edit.content.CopyFrom(text("see you at 9"))
        await alice.call(edit)
        await alice.call(
            chat_pb2.DeleteMessageRequest(
                request_id=new_id(), conversation_id=self.group, target_seq=gone, for_all=True
            )
        )

    async def describe(self, world: World, devices: Mapping[str, RawDevice]) -> list[Any]:
        """Return all that the users are shown: conversations, entries, readers, and the file."""
        shown: list[Any] = []
        for device in devices.values():
            shown.append(await device.call(conversation_pb2.ListConversationsRequest()))
            for conversation_id in (self.group, self.direct) if device is not devices["carol"] else (self.group,):
                ranges = [chat_pb2.EntryRange(conversation_id=conversation_id)]
                shown.append(await device.call(chat_pb2.ListEntriesRequest(fetch=chat_pb2.Fetch(ranges=ranges))))
        readers = chat_pb2.ListReadersRequest(conversation_id=self.group, seq=self.first)
        shown.append(await devices["alice"].call(readers))
        files = RawMedia(devices["bob"], world.channel(world.stack.door))
        shown.append((await files.download(self.media_id)).data)
        await files.close()
        return shown

    async def resume(self, world: World, devices: Mapping[str, RawDevice]) -> None:
        """Check that devices go on where they were, also the one that was offline, and that a send is not repeated."""
        login = account_pb2.LoginRequest(login_name=self.login_name, password=PASSWORD)
        assert (await devices["alice"].call(login)).session.user_id == devices["alice"].user_id
        for device in devices.values():
            await device.open(device.cursor)
            conversations, resync = await device.changes()
            assert self.group in conversations
            assert resync == OTHER_GENERATION, "Redis was empty, so the device is to compare all"
            await device.fetch(self.group, after_seq=max(device.logs[self.group]))
            await device.has_all(self.group, self.head)
        bob, carol = devices["bob"], devices["carol"]
        assert await bob.sent(self.group, "the last one", client_message_id=self.sent_id) == self.head
        assert await bob.sent(self.group, "and on") == self.head + 1
        await carol.has_all(self.group, self.head + 1)
        entry: entry_pb2.Entry = carol.logs[self.group][self.head + 1]
        assert entry.message_appended.content.text.body == "and on"


async def test_dump_taken_while_users_write_has_all_that_was_acknowledged(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    environment = {**ENVIRONMENT, **RATES}
    with Stack(old, 2, services=(CHAT,), environment=environment) as stack:
        async with World(stack) as world:
            bob, writers = await invite(world)
            dump = await dump_under_writes(stack, writers)
            # Redis loses its data after the dump: this generation is not in it.
            await see_another_generation(stack, bob)
            shutil.copytree(stack.layout.folder / "secrets", new / "secrets")
    assert {entry["op"] for entry in dump.oplog} >= {"i", "u", "d"}
    with before_services(new) as client:
        await asyncio.to_thread(dump.restore, client)
    with Stack(new, 2, services=(CHAT,), environment=environment) as stack:
        async with World(stack) as world:
            bob = world.move(bob)
            await check_restored(bob, writers)
            for writer in writers:
                await writer.write_on(world, bob)


class Writer:
    """A user who sends to a conversation, edits each message, and blocks and unblocks a user, again and again.

    `acknowledged` has the text of each message by its seq, `kept` those that were acknowledged before the dump ended.
    """

    def __init__(self, device: RawDevice, conversation: str, blocked: RawDevice) -> None:
        self.conversation = conversation
        self.acknowledged: dict[int, str] = {}
        self.kept: dict[int, str] = {}
        self._device = device
        self._blocked = blocked.user_id

    async def write(self, over: asyncio.Event) -> None:
        """Write until it is over."""
        call = self._device.call
        while not over.is_set():
            key = new_id()
            seq = await self._device.sent(self.conversation, key, client_message_id=key)
            self.acknowledged[seq] = key
            edit = chat_pb2.EditMessageRequest(request_id=new_id(), conversation_id=self.conversation, target_seq=seq)
            edit.content.CopyFrom(text(edited(key)))
            await call(edit)
            self.acknowledged[seq] = edited(key)
            await call(account_pb2.BlockUserRequest(user_id=self._blocked))
            await call(account_pb2.UnblockUserRequest(user_id=self._blocked))

    async def wait_more(self) -> None:
        """Wait until more messages are acknowledged."""
        enough = len(self.acknowledged) + 5
        await eventually(lambda: len(self.acknowledged) >= enough, 30.0)

    async def write_on(self, world: World, reader: RawDevice) -> None:
        """Repeat a send that the restored system has, and send another message."""
        device = world.move(self._device)
        # The device has seen what was sent after the dump.
        device.logs = defaultdict(dict)
        await device.connect(device.cursor)
        seq = max(self.kept)
        key = self.kept[seq][: len(new_id())]
        assert await device.sent(self.conversation, key, client_message_id=key) == seq
        head = max(reader.logs[self.conversation])
        assert await device.sent(self.conversation, "and on") == head + 1
        await reader.has_all(self.conversation, head + 1)


def edited(body: str) -> str:
    """Return the text of a message after its edit."""
    return f"{body}, edited"


async def invite(world: World) -> tuple[RawDevice, Sequence[Writer]]:
    """Return a user who is offline, and writers to that user's conversations."""
    alice, bob, carol, dave = await world.users("alice", "bob", "carol", "dave")
    for device in (alice, bob, carol):
        await device.connect()
    group, direct = await alice.group("Friday", [bob, carol]), await bob.direct(carol)
    await bob.has_all(group, await alice.sent(group, "see you at 8"))
    await bob.close()
    return bob, [Writer(alice, group, dave), Writer(carol, group, dave), Writer(carol, direct, dave)]


async def dump_under_writes(stack: Stack, writers: Sequence[Writer]) -> MongoDump:
    """Return a dump of a system to which all writers write before, while and after its collections are read."""
    with MongoClient[Document](stack.mongo_uri) as client:
        async with writing(writers):
            dump = await asyncio.to_thread(MongoDump, client)
            await asyncio.gather(*(writer.wait_more() for writer in writers))
            await asyncio.to_thread(dump.read_collections)
            await asyncio.gather(*(writer.wait_more() for writer in writers))
            for writer in writers:
                writer.kept = dict(writer.acknowledged)
            await asyncio.to_thread(dump.finish)
            await asyncio.gather(*(writer.wait_more() for writer in writers))
    return dump


@asynccontextmanager
async def writing(writers: Sequence[Writer]) -> AsyncIterator[None]:
    """Let writers write within the block."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for writer in writers:
            group.create_task(writer.write(over))
        yield
        over.set()


async def see_another_generation(stack: Stack, device: RawDevice) -> None:
    """Empty Redis, and let a device that is offline learn of the next generation, and nothing else."""
    redis = connect_redis(stack.redis_url)
    await redis.flushall()
    await redis.aclose()

    async def told() -> bool:
        await device.open(device.cursor)
        _, resync = await device.changes()
        await device.close()
        return bool(resync == OTHER_GENERATION)

    await eventually(told)


async def check_restored(device: RawDevice, writers: Sequence[Writer]) -> None:
    """Check that a device that comes back is told to compare all, and finds all that is kept, without gaps."""
    await device.open(device.cursor)
    conversations, resync = await device.changes()
    assert resync == OTHER_GENERATION
    assert set(conversations) == {writer.conversation for writer in writers}
    for conversation in conversations:
        seq, complete = 0, False
        while not complete:
            fetched = await device.fetch(conversation, seq)
            seq, complete = fetched.seqs[-1], fetched.ranges[0].complete
        log = device.logs[conversation]
        assert sorted(log) == list(range(1, seq + 1))
    for writer in writers:
        log = device.logs[writer.conversation]
        for seq, body in writer.kept.items():
            assert log[seq].message_appended.content.text.body in (body, edited(body))

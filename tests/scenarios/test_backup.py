"""A backup by docs/backup.md, restored to a new system with an empty Redis and an empty etcd, loses nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from devstack.services import CHAT, MEDIA
from devstack.stack import Stack
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2, entry_pb2
from tests.raw.bucket import Bucket
from tests.raw.device import RawDevice, new_id, text
from tests.raw.media import RawMedia
from tests.raw.world import PASSWORD, World
from tests.scenarios.conftest import ENVIRONMENT

pytestmark = pytest.mark.scenario

SERVICES = (CHAT, MEDIA)
PICTURE = b"the bytes of a file" * 1000


async def test_restored_system_has_all_and_its_devices_resume(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    with Stack(old, 2, services=SERVICES, environment=ENVIRONMENT) as stack:
        async with World(stack) as world:
            play = Play(world)
            await play.perform()
            # Their devices are as they are when the system is gone.
            shown = await play.describe(world, play.devices)
            objects = await asyncio.to_thread(back_up, stack, new)
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
            assert resync != chat_pb2.Changes.RESYNC_UNSPECIFIED, "Redis was empty, so the device is to compare all"
            await device.fetch(self.group, after_seq=max(device.logs[self.group]))
            await device.has_all(self.group, self.head)
        bob, carol = devices["bob"], devices["carol"]
        assert await bob.sent(self.group, "the last one", client_message_id=self.sent_id) == self.head
        assert await bob.sent(self.group, "and on") == self.head + 1
        await carol.has_all(self.group, self.head + 1)
        entry: entry_pb2.Entry = carol.logs[self.group][self.head + 1]
        assert entry.message_appended.content.text.body == "and on"

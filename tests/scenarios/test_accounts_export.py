"""Account export: all data of a user and all visible messages, and no others."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncIterator
from secrets import token_hex
from typing import Any

import grpc
import pytest

from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from tests.raw.catalog import CatalogServer
from tests.raw.device import RawDevice, new_id
from tests.raw.presence import EVERYONE, NOBODY, show
from tests.raw.refusal import of_error
from tests.raw.world import World

pytestmark = pytest.mark.scenario

EXPORT = "/parley.chat.v1.AccountService/ExportAccount"


async def stream_chunks(world: World, device: RawDevice) -> AsyncIterator[bytes]:
    call: Any = world.channel(world.stack.door).unary_stream(
        EXPORT, response_deserializer=account_pb2.ExportAccountResponse.FromString
    )
    async for each in call(b"", metadata=device.metadata):
        yield each.chunk


async def chunks(world: World, device: RawDevice) -> list[bytes]:
    return [chunk async for chunk in stream_chunks(world, device)]


async def archive(world: World, device: RawDevice) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(b"".join(await chunks(world, device)))) as made:
        assert made.testzip() is None
        return {name: made.read(name).decode() for name in made.namelist()}


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def bodies(text: str) -> list[str]:
    messages = [each["message_appended"] for each in lines(text) if "message_appended" in each]
    return [message.get("content", {}).get("text", {}).get("body", "") for message in messages]


async def test_archive_contains_all_stored_data(world: World) -> None:
    alice, bob = await world.register("alice"), await world.user("bob")
    direct, group = await alice.direct(bob), await bob.group("Friday", [alice])
    await alice.call(account_pb2.UpdateProfileRequest(about="Grüße ☕"))
    await alice.call(account_pb2.UpdatePrivacyRequest(found_by_search=False))
    await show(alice, online=EVERYONE, last_seen=NOBODY)
    await alice.call(account_pb2.BlockUserRequest(user_id=(await world.user("eve")).user_id))
    for device in (alice, bob):
        await device.connect()
    await alice.sent(direct, "hello bob")
    await bob.sent(direct, "hello alice, こんにちは")
    await bob.sent(group, "hello all")

    found = await archive(world, alice)
    assert found.keys() == {
        "README.txt",
        "media.jsonl",
        "presence.json",
        "notifications.json",
        "profile.json",
        "devices.json",
        "blocks.json",
        "conversations.jsonl",
        f"conversations/{direct}.jsonl",
        f"conversations/{group}.jsonl",
    }
    assert json.loads(found["profile.json"])["profile"]["about"] == "Grüße ☕"
    assert json.loads(found["profile.json"])["privacy"]["found_by_search"] is False
    [device] = json.loads(found["devices.json"])
    assert (device["device_id"], device["current"]) == (alice.device_id, True)
    assert len(json.loads(found["blocks.json"])) == 1
    visibility = {"online": "AUDIENCE_EVERYONE", "last_seen": "AUDIENCE_NOBODY"}
    assert json.loads(found["notifications.json"])["preferences"]["scope"] == "NOTIFICATION_SCOPE_ALL"
    assert json.loads(found["presence.json"]) == {"visibility": visibility, "last_seen_time": None}
    told = {each["conversation"]["conversation_id"]: each for each in lines(found["conversations.jsonl"])}
    assert told.keys() == {direct, group}
    assert told[group]["conversation"]["title"] == "Friday"
    assert told[group]["names"][bob.user_id] == "bob"
    assert bodies(found[f"conversations/{direct}.jsonl"]) == ["hello bob", "hello alice, こんにちは"]
    assert [int(each["seq"]) for each in lines(found[f"conversations/{group}.jsonl"])] == [1, 2, 3]
    assert "hello all" not in str(await archive(world, await world.user("carol")))


async def test_archive_contains_only_visible_messages(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    group = await bob.group("Friday", [await world.user("carol")])
    await bob.connect()
    await bob.sent(group, "before alice")
    add = conversation_pb2.AddMembersRequest(request_id=new_id(), conversation_id=group, member_ids=[alice.user_id])
    await bob.call(add)
    await bob.sent(group, "while alice is there")
    seq = await bob.sent(group, "not for long")
    edit = chat_pb2.EditMessageRequest(request_id=new_id(), conversation_id=group, target_seq=seq)
    edit.content.text.body = "hidden words"
    await bob.call(edit)
    hide = chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=group, target_seq=seq)
    await alice.call(hide)
    await alice.call(conversation_pb2.LeaveGroupRequest(request_id=new_id(), conversation_id=group))
    await bob.sent(group, "without alice")
    kept = (await archive(world, alice))[f"conversations/{group}.jsonl"]
    assert bodies(kept) == ["while alice is there"]
    assert "hidden words" not in kept


async def test_long_archive_arrives_complete_in_chunks(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    conversation = await alice.direct(bob)
    await alice.connect(at=world.servers[0])
    await bob.connect(at=world.servers[1])
    # What cannot be made much smaller.
    sent = [token_hex(3000) for _ in range(100)]
    for number, body in enumerate(sent):
        await (alice if number % 2 else bob).sent(conversation, body)
    parts = await chunks(world, alice)
    assert len(parts) > 3
    assert all(len(each) == 64 * 1024 for each in parts[:-1])
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as made:
        assert bodies(made.read(f"conversations/{conversation}.jsonl").decode()) == sent


async def test_archive_lists_all_files_of_the_user(catalog_world: World, catalog: CatalogServer) -> None:
    alice, bob = await catalog_world.users("alice", "bob")
    catalog.page_size = 2
    files = [catalog.add(alice, file_name=f"{number}.png", size_bytes=number) for number in range(1, 6)]
    catalog.add(bob, alice)
    found = await archive(catalog_world, alice)
    listed = {each["media_id"]: each for each in lines(found["media.jsonl"])}
    assert listed.keys() == set(files)
    assert listed[files[2]] == {
        "media_id": files[2],
        "owner_id": alice.user_id,
        "state": "MEDIA_STATE_READY",
        "kind": "MEDIA_KIND_IMAGE",
        "content_type": "image/png",
        "file_name": "3.png",
        "size_bytes": "3",
        "create_time": "1970-01-01T00:00:01Z",
    }
    assert "media.jsonl" in found["README.txt"]


async def test_no_archive_begins_without_the_media_service(catalog_world: World) -> None:
    alice = await catalog_world.user("alice")
    stream = stream_chunks(catalog_world, alice)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(stream)
    assert of_error(caught.value).code_and_reason == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")


async def test_signed_out_device_gets_no_archive(world: World) -> None:
    alice = await world.user("alice")
    await alice.call(account_pb2.LogoutRequest())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await chunks(world, alice)
    assert of_error(caught.value).code_and_reason == ("UNAUTHENTICATED", "DEVICE_REVOKED")

"""Expired content is deleted for all users on a running system; retries, seqs and readers are not affected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from google.protobuf.duration_pb2 import Duration

from devstack.services import CHAT, MEDIA
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice, new_id, text
from tests.raw.directory import Directory
from tests.raw.media import upload
from tests.raw.world import World

pytestmark = pytest.mark.scenario

RELAY_ONLY = entry_pb2.Retention(relay_only=entry_pb2.Retention.RelayOnly())
FOREVER = entry_pb2.Retention(forever=entry_pb2.Retention.Forever())
NOT_FOUND = ("NOT_FOUND", "MESSAGE_NOT_FOUND")


@pytest.fixture(scope="module")
def short_retention_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system that keeps content for three seconds by default."""
    environment = {"PARLEY_RETENTION": "3s", "PARLEY_RETENTION_PAUSE_SECONDS": "0.2"}
    with Stack(
        tmp_path_factory.mktemp("short_retention_stack"),
        chat_servers=2,
        services=(CHAT, MEDIA),
        environment=environment,
    ) as stack:
        yield stack


@pytest.fixture
async def world(short_retention_stack: Stack) -> AsyncIterator[World]:
    async with World(short_retention_stack) as world:
        yield world


def retention(conversation_id: str, rule: entry_pb2.Retention) -> conversation_pb2.SetRetentionRequest:
    return conversation_pb2.SetRetentionRequest(request_id=new_id(), conversation_id=conversation_id, retention=rule)


async def conversation(device: RawDevice, conversation_id: str) -> conversation_pb2.Conversation:
    request = conversation_pb2.GetConversationRequest(conversation_id=conversation_id)
    answer: conversation_pb2.Conversation = (await device.call(request)).conversation
    return answer


async def listed(device: RawDevice, conversation_id: str, before_seq: int = 0) -> list[str]:
    answer = await device.call(chat_pb2.ListMessagesRequest(conversation_id=conversation_id, before_seq=before_seq))
    return [each.message_appended.content.text.body for each in answer.messages]


async def fetched(device: RawDevice, conversation_id: str) -> dict[int, entry_pb2.Entry]:
    return {each.seq: each for each in (await device.fetch(conversation_id, limit=500)).entries}


async def is_kept_from(device: RawDevice, conversation_id: str, seq: int) -> None:
    async def holds() -> bool:
        return (await conversation(device, conversation_id)).first_seq == seq

    await eventually(holds, timeout=20)


async def test_expired_content_is_deleted_and_seqs_continue(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    both = await alice.direct(bob)
    for device in (alice, bob):
        await device.connect()
    keys = [new_id() for _ in range(5)]
    seqs = [await alice.sent(both, f"pineapple {key}", client_message_id=key) for key in keys]
    await bob.has_all(both, seqs[-1])
    await is_kept_from(bob, both, seqs[-1] + 1)
    for device in (alice, bob):
        assert await listed(device, both) == []
        assert not (await device.call(chat_pb2.SearchMessagesRequest(query="pineapple"))).messages

        async def empty(device: RawDevice = device) -> bool:
            entries = await fetched(device, both)
            assert sorted(entries) == list(range(1, seqs[-1] + 1))
            return not any(each.message_appended.HasField("content") for each in entries.values())

        await eventually(empty)
    seen = await conversation(bob, both)
    assert (seen.head_seq, seen.unread_count, len(seen.members)) == (seqs[-1], 0, 2)
    edit = chat_pb2.EditMessageRequest(
        request_id=new_id(), conversation_id=both, target_seq=seqs[0], content=text("back")
    )
    assert (await alice.refusal(edit)).code_and_reason == NOT_FOUND
    react = chat_pb2.SetReactionRequest(request_id=new_id(), conversation_id=both, target_seq=seqs[0], emoji="👍")
    assert (await bob.refusal(react)).code_and_reason == NOT_FOUND
    # A retry against retention: its first answer, and no content again.
    for key, seq in zip(keys, seqs, strict=True):
        assert await alice.sent(both, f"pineapple {key}", client_message_id=key) == seq
    assert await alice.sent(both, "next") == seqs[-1] + 1
    assert await listed(bob, both) == ["next"]


async def test_reader_during_retention_sees_every_seq_once(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    both = await alice.direct(bob)
    await alice.connect()
    await bob.open()
    old = [await alice.sent(both, f"old {number}") for number in range(6)]
    page = await bob.fetch(both, limit=3)
    held = [each.seq for each in page.entries]
    await is_kept_from(bob, both, old[-1] + 1)
    new = [await alice.sent(both, f"new {number}") for number in range(3)]
    while held[-1] < new[-1]:
        page = await bob.fetch(both, held[-1], limit=3)
        held += [each.seq for each in page.entries]
    assert held == list(range(1, new[-1] + 1))
    assert page.ranges[0].first_seq == old[-1] + 1
    assert await listed(bob, both, before_seq=new[-1]) == ["new 1", "new 0"]


async def test_access_to_media_ends_with_its_message(world: World) -> None:
    directory = Directory(world)
    alice, bob = await world.users("alice", "bob")
    file = (await upload(world, alice, b"a file")).media_id
    both = await alice.direct(bob)
    await alice.connect()
    await bob.connect()
    media = entry_pb2.Content(media=entry_pb2.MediaReference(media_id=file))
    seq = await alice.sent(both, media)
    assert await directory.allows(bob, file)
    assert await directory.referenced(file) == [file]
    await is_kept_from(bob, both, seq + 1)
    assert not await directory.allows(bob, file)
    assert not await Directory(world, 1).allows(alice, file)

    async def unreferenced() -> bool:
        return await directory.referenced(file) == []

    await eventually(unreferenced)


async def test_conversation_overrides_retention_policy(world: World) -> None:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    await alice.connect()
    group = await alice.group("Kept", [bob, carol])
    assert (await bob.refusal(retention(group, FOREVER))).code_and_reason == ("PERMISSION_DENIED", "ROLE_INSUFFICIENT")
    short = entry_pb2.Retention(max_age=Duration(seconds=3600))
    assert (await alice.refusal(retention(group, short))).code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")
    await alice.call(retention(group, FOREVER))
    assert (await conversation(bob, group)).retention == FOREVER
    both = await alice.direct(bob)
    await alice.sent(group, "stays")
    seq = await alice.sent(both, "goes")
    await is_kept_from(bob, both, seq + 1)
    assert await listed(bob, group) == ["stays"]
    await alice.call(retention(group, entry_pb2.Retention()))
    assert not (await conversation(bob, group)).HasField("retention")

    async def gone() -> bool:
        return await listed(bob, group) == []

    await eventually(gone)


async def test_relay_only_keeps_content_until_last_device_receives_it(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    tablet = await world.add_device(bob)
    both = await alice.direct(bob)
    await alice.call(retention(both, RELAY_ONLY))
    for device in (alice, bob):
        await device.connect()
    seq = await alice.sent(both, "psst")
    for device in (alice, bob):
        await device.has_all(both, seq)
        await device.receipt(both, delivered=seq)
    # So long the default would not have kept it.
    other = await alice.direct((await world.users("carol"))[0])
    last = await alice.sent(other, "by the default")
    await is_kept_from(alice, other, last + 1)
    assert await listed(bob, both) == ["psst"]
    # The last one says so by a call, at any server.
    receipt = chat_pb2.Receipt(conversation_id=both, read_seq=seq)
    await tablet.call(chat_pb2.UpdateReceiptsRequest(receipts=[receipt]), at=world.servers[1])
    await is_kept_from(tablet, both, seq + 1)
    assert await listed(bob, both) == []
    assert await alice.sent(both, "next") == seq + 1

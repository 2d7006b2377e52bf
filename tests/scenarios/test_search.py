"""Message search: visible messages are found by their current words, in pages, from any server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from chat_service.storage.documents import entry_id
from devstack.services import CHAT
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from servicekit.mongo import connect
from tests.raw.catalog import CatalogServer
from tests.raw.device import RawDevice, new_id, text
from tests.raw.world import World

pytestmark = pytest.mark.scenario


def search(
    query: str, conversation_id: str = "", page_size: int = 0, page_token: str = ""
) -> chat_pb2.SearchMessagesRequest:
    return chat_pb2.SearchMessagesRequest(
        query=query, conversation_id=conversation_id, page_size=page_size, page_token=page_token
    )


async def bodies(device: RawDevice, query: str, conversation_id: str = "") -> list[str]:
    answer = await device.call(search(query, conversation_id))
    return [each.message_appended.content.text.body for each in answer.messages]


async def test_search_covers_all_conversations_newest_first_in_pages(world: World) -> None:
    alice, *others = await world.users("alice", "bob", "carol", "dave")
    await alice.open()
    conversations = [await alice.direct(other) for other in others] + [await alice.group("All", others)]
    said = []
    for number in range(12):
        conversation = conversations[number % len(conversations)]
        said.append((conversation, await alice.sent(conversation, f"umbrella number {number}")))
    found, token = list[tuple[str, int]](), ""
    while True:
        page = await alice.call(search("umbrella", page_size=5, page_token=token))
        found += [(each.conversation_id, each.seq) for each in page.messages]
        assert all(each.client_message_id for each in page.messages)
        if not (token := page.next_page_token):
            break
    assert found == said[::-1]
    assert await bodies(others[0], "umbrella number 4") == ["umbrella number 4"]
    assert await bodies(alice, "UMBRÉLLA 3") == ["umbrella number 3"]
    assert len(await bodies(alice, "umbr", conversations[1])) == 3


async def test_search_excludes_messages_sent_outside_membership(world: World) -> None:
    alice, bob, carol, eve = await world.users("alice", "bob", "carol", "eve")
    await alice.open()
    group = await alice.group("Treasure", [bob])
    await alice.sent(group, "treasure before")
    add = conversation_pb2.AddMembersRequest(request_id=new_id(), conversation_id=group, member_ids=[carol.user_id])
    await alice.call(add)
    await alice.sent(group, "treasure meanwhile")
    await carol.call(conversation_pb2.LeaveGroupRequest(request_id=new_id(), conversation_id=group))
    await alice.sent(group, "treasure after")
    for where in ("", group):
        assert await bodies(carol, "treasure", where) == ["treasure meanwhile"]
        assert len(await bodies(bob, "treasure", where)) == 3
    assert await bodies(eve, "treasure") == []
    assert (await eve.refusal(search("treasure", group))).code_and_reason == ("NOT_FOUND", "CONVERSATION_NOT_FOUND")


async def test_search_matches_current_content(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    await alice.open()
    both = await alice.direct(bob)
    edited, deleted, hidden = [await alice.sent(both, f"walnut {each}") for each in ("one", "two", "three")]
    edit = chat_pb2.EditMessageRequest(
        request_id=new_id(), conversation_id=both, target_seq=edited, content=text("chestnut")
    )
    await alice.call(edit)
    await alice.call(
        chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=both, target_seq=deleted, for_all=True)
    )
    await bob.call(chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=both, target_seq=hidden))
    assert await bodies(alice, "walnut") == ["walnut three"]
    assert await bodies(bob, "walnut") == []
    assert await bodies(bob, "chestnut") == ["chestnut"]


async def test_search_finds_what_readers_type(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    await alice.open()
    both = await alice.direct(bob)
    for said, typed in (
        ("meet in Đà Nẵng", "da nang"),
        ("ŁÓDŹ station", "lodz"),
        ("O’Brien comes", "O'Brien"),
        ("kapı açık", "KAPI"),
        ("ﬁne co\u00adop", "fine coop"),
        ("Ærø ferry", "aero"),
    ):
        await alice.sent(both, said)
        assert await bodies(bob, typed) == await bodies(bob, said) == [said]


async def test_search_also_finds_messages_that_an_earlier_version_indexed(world: World) -> None:
    alice, bob = await world.users("alice", "bob")
    await alice.open()
    both = await alice.direct(bob)
    earlier, later = [await alice.sent(both, f"Đà Nẵng {number}") for number in range(2)]
    database = await connect(world.stack.mongo_uri, "parley")
    words = {"$set": {"w": ["đa", "nang", "0"]}}
    assert (await database["entries"].update_one({"_id": entry_id(both, earlier)}, words)).modified_count == 1
    await database.client.close()
    first = await bob.call(search("Đà Nẵng", page_size=1))
    second = await bob.call(search("Đà Nẵng", page_size=1, page_token=first.next_page_token))
    assert [each.seq for answer in (first, second) for each in answer.messages] == [later, earlier]
    assert not second.next_page_token
    assert await bodies(bob, "da nang") == ["Đà Nẵng 1"]


async def test_invalid_search_is_refused(world: World) -> None:
    alice = await world.user("alice")
    for query in ("👍 …", "", "x" * 257):
        assert (await alice.refusal(search(query))).code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")
    for token in ("!", "Zm91bmQ6MQ", "Zm91bmQ6OTk5OTk5OTk5OTk5OTk5OTk5OTk6MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA"):
        refusal = await alice.refusal(search("red", page_token=token))
        assert refusal.code_and_reason == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_every_server_finds_captions_of_any_owner(catalog_world: World, catalog: CatalogServer) -> None:
    alice, bob = await catalog_world.users("alice", "bob")
    await alice.open()
    both = await alice.direct(bob)
    caption = entry_pb2.MediaReference(media_id=catalog.add(alice), caption="Sonnenuntergang über Köln")
    await alice.sent(both, entry_pb2.Content(media=caption))
    servers = catalog_world.servers
    answers = await asyncio.gather(*(bob.call(search("KOLN sonnen"), at=server) for server in servers))
    assert [len(answer.messages) for answer in answers] == [1] * len(servers)


@pytest.fixture(scope="module")
def searchless_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system with message search disabled."""
    environment = {"PARLEY_SEARCH": "false"}
    with Stack(
        tmp_path_factory.mktemp("searchless_stack"), chat_servers=1, services=(CHAT,), environment=environment
    ) as stack:
        yield stack


async def test_search_is_disabled_by_setting(searchless_stack: Stack) -> None:
    async with World(searchless_stack) as world:
        alice, bob = await world.users("alice", "bob")
        await alice.open()
        both = await alice.direct(bob)
        seq = await alice.sent(both, "walnut")
        edit = chat_pb2.EditMessageRequest(
            request_id=new_id(), conversation_id=both, target_seq=seq, content=text("chestnut")
        )
        await alice.call(edit)
        assert (await alice.refusal(search("chestnut"))).code_and_reason == ("PERMISSION_DENIED", "DISABLED")
        database = await connect(searchless_stack.mongo_uri, "parley")
        assert await database["entries"].count_documents({"w": {"$exists": True}}) == 0
        assert "words" not in await database["entries"].index_information()
        await database.client.close()

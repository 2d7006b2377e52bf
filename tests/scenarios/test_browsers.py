"""Browsers: a server stream and unary calls by grpc-web over HTTP/1.1, equivalent to a `Connect` stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from parley.chat.v1 import chat_pb2
from tests.raw.browser import Browser
from tests.raw.device import RawDevice, new_id, text
from tests.raw.refusal import Refusal, of_status
from tests.raw.world import World

pytestmark = pytest.mark.scenario


@dataclass
class Scenario:
    """Alice has a browser whose stream ends at the first server; her calls go to the second. Bob has a phone."""

    world: World
    alice: RawDevice
    tab: Browser
    bob: RawDevice
    conversation: str

    @property
    def stream_at(self) -> str:
        return self.world.servers[0]

    @property
    def calls_at(self) -> str:
        return self.world.servers[1]

    async def ask(self, request: object) -> object:
        return await self.tab.ask(request, at=self.calls_at)  # type: ignore[arg-type]


@pytest.fixture
async def scenario(world: World) -> AsyncIterator[Scenario]:
    alice, bob = await world.users("alice", "bob")
    conversation = await alice.direct(bob)
    await bob.connect()
    tab = Browser(world.stack.door, alice.token)
    yield Scenario(world, alice, tab, bob, conversation)
    await tab.close()


def send(conversation: str, body: str, key: str = "") -> chat_pb2.SendMessageRequest:
    return chat_pb2.SendMessageRequest(
        client_message_id=key or new_id(), conversation_id=conversation, content=text(body)
    )


def fetch(conversation: str, after_seq: int = 0) -> chat_pb2.ListEntriesRequest:
    span = chat_pb2.EntryRange(conversation_id=conversation, after_seq=after_seq)
    return chat_pb2.ListEntriesRequest(fetch=chat_pb2.Fetch(ranges=[span]))


async def test_tab_sends_by_call_and_receives_by_stream(scenario: Scenario) -> None:
    await scenario.tab.subscribe(at=scenario.stream_at)
    changes = await scenario.tab.next("changes")
    assert list(changes.conversation_ids) == [scenario.conversation]
    key = new_id()
    answer = await scenario.tab.ask(send(scenario.conversation, "hello", key), at=scenario.calls_at)
    own = await scenario.tab.next("entries")
    assert [(each.seq, each.client_message_id) for each in own.entries] == [(answer.appended.seq, key)]
    await scenario.bob.has(scenario.conversation, "hello")
    again = await scenario.tab.ask(send(scenario.conversation, "hello", key), at=scenario.stream_at)
    assert again.appended.seq == answer.appended.seq
    reply = await scenario.bob.sent(scenario.conversation, "hello, alice")
    assert [each.seq for each in (await scenario.tab.next("entries")).entries] == [reply]


async def test_receipts_and_typing_by_call_reach_peer(scenario: Scenario) -> None:
    seq = await scenario.bob.sent(scenario.conversation, "read this")
    receipt = chat_pb2.Receipt(conversation_id=scenario.conversation, read_seq=seq)
    await scenario.tab.ask(chat_pb2.UpdateReceiptsRequest(receipts=[receipt]), at=scenario.calls_at)
    await scenario.bob.has_receipts(scenario.conversation, scenario.alice, delivered=seq, read=seq)
    await scenario.tab.ask(
        chat_pb2.SetTypingRequest(conversation_id=scenario.conversation, typing=True), at=scenario.calls_at
    )
    assert (await scenario.bob.stream.next_frame("typing")).user_id == scenario.alice.user_id


async def test_cursor_is_interchangeable_between_stream_and_call(scenario: Scenario) -> None:
    await scenario.tab.subscribe(at=scenario.stream_at)
    cursor = (await scenario.tab.next("changes")).cursor
    await scenario.tab.close()
    seq = await scenario.bob.sent(scenario.conversation, "while the tab was closed")
    changed = await scenario.tab.ask(chat_pb2.ListChangesRequest(cursor=cursor), at=scenario.calls_at)
    assert list(changed.changes.conversation_ids) == [scenario.conversation]
    assert changed.changes.last_page
    listed = await scenario.tab.ask(fetch(scenario.conversation, seq - 1), at=scenario.calls_at)
    assert [each.seq for each in listed.entries.entries] == [seq]
    assert listed.entries.ranges[0].complete
    tab = Browser(scenario.world.stack.door, scenario.alice.token)
    await tab.subscribe(chat_pb2.Hello(cursor=changed.changes.cursor), at=scenario.calls_at)
    assert (await tab.next("changes")).resync == chat_pb2.Changes.RESYNC_UNSPECIFIED
    await tab.close()


async def test_changes_are_listed_in_pages(scenario: Scenario) -> None:
    others = await scenario.world.users(*["somebody"] * 4)
    conversations = {scenario.conversation, *[await scenario.alice.direct(other) for other in others]}
    named, request = list[str](), chat_pb2.ListChangesRequest(page_size=2)
    while True:
        page = await scenario.tab.ask(request)
        named += page.changes.conversation_ids
        assert page.changes.resync == chat_pb2.Changes.RESYNC_NO_CURSOR
        assert page.changes.last_page == page.changes.HasField("cursor") == (not page.next_page_token)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert len(named) == len(set(named)) == 5
    assert set(named) == conversations
    request.page_token = "bm9uc2Vuc2U"
    assert (await scenario.tab.refusal(request)).code_and_reason == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_stream_calls_reach_stream_on_another_server(scenario: Scenario) -> None:
    await scenario.tab.subscribe(at=scenario.stream_at)
    beat = await scenario.tab.ask(chat_pb2.HeartbeatRequest(), at=scenario.calls_at)
    assert beat.server_time.seconds > 0
    token = scenario.world.token(scenario.alice.user_id, scenario.alice.device_id)
    answer = await scenario.tab.ask(chat_pb2.ReauthenticateRequest(access_token=token), at=scenario.calls_at)
    assert answer.token_expire_time.seconds > beat.server_time.seconds
    other = scenario.world.token(scenario.bob.user_id, scenario.bob.device_id)
    refused = await scenario.tab.refusal(chat_pb2.ReauthenticateRequest(access_token=other), at=scenario.calls_at)
    assert refused.code_and_reason == ("UNAUTHENTICATED", "TOKEN_INVALID")


async def test_stream_call_without_stream_is_refused(scenario: Scenario) -> None:
    token = scenario.world.token(scenario.alice.user_id, scenario.alice.device_id)
    for request in (chat_pb2.HeartbeatRequest(), chat_pb2.ReauthenticateRequest(access_token=token)):
        refused: Refusal = await scenario.tab.refusal(request)
        assert refused.code_and_reason == ("FAILED_PRECONDITION", "STREAM_NOT_CONNECTED")


async def test_second_tab_of_device_supersedes_first(scenario: Scenario) -> None:
    await scenario.tab.subscribe(at=scenario.stream_at)
    second = Browser(scenario.world.stack.door, scenario.alice.token)
    await second.subscribe(at=scenario.calls_at)
    error = await scenario.tab.next("error")
    assert error.final
    assert of_status(error.status).code_and_reason == ("ABORTED", "SESSION_SUPERSEDED")
    await second.close()


async def test_refused_call_carries_reason(scenario: Scenario) -> None:
    refused = await scenario.tab.refusal(send("0" * 32, "anybody?"))
    assert refused.code_and_reason == ("NOT_FOUND", "CONVERSATION_NOT_FOUND")

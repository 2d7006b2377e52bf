"""Browsers: one stream down and unary calls, by grpc-web over HTTP/1.1, with the powers and cursors of a stream."""

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
class Play:
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
async def play(world: World) -> AsyncIterator[Play]:
    alice, bob = await world.users("alice", "bob")
    conversation = await alice.direct(bob)
    await bob.attend()
    tab = Browser(world.stack.door, alice.token)
    yield Play(world, alice, tab, bob, conversation)
    await tab.close()


def send(conversation: str, body: str, key: str = "") -> chat_pb2.SendMessageRequest:
    return chat_pb2.SendMessageRequest(
        client_message_id=key or new_id(), conversation_id=conversation, content=text(body)
    )


def fetch(conversation: str, after_seq: int = 0) -> chat_pb2.ListEntriesRequest:
    span = chat_pb2.EntryRange(conversation_id=conversation, after_seq=after_seq)
    return chat_pb2.ListEntriesRequest(fetch=chat_pb2.Fetch(ranges=[span]))


async def test_tab_sends_by_call_and_receives_by_stream(play: Play) -> None:
    await play.tab.subscribe(at=play.stream_at)
    changes = await play.tab.next("changes")
    assert list(changes.conversation_ids) == [play.conversation]
    key = new_id()
    answer = await play.tab.ask(send(play.conversation, "hello", key), at=play.calls_at)
    own = await play.tab.next("entries")
    assert [(each.seq, each.client_message_id) for each in own.entries] == [(answer.appended.seq, key)]
    await play.bob.has(play.conversation, "hello")
    again = await play.tab.ask(send(play.conversation, "hello", key), at=play.stream_at)
    assert again.appended.seq == answer.appended.seq
    reply = await play.bob.sent(play.conversation, "hello, alice")
    assert [each.seq for each in (await play.tab.next("entries")).entries] == [reply]


async def test_receipts_and_typing_by_call_reach_peer(play: Play) -> None:
    seq = await play.bob.sent(play.conversation, "read this")
    receipt = chat_pb2.Receipt(conversation_id=play.conversation, read_seq=seq)
    await play.tab.ask(chat_pb2.UpdateReceiptsRequest(receipts=[receipt]), at=play.calls_at)
    await play.bob.is_told(play.conversation, play.alice, delivered=seq, read=seq)
    await play.tab.ask(chat_pb2.SetTypingRequest(conversation_id=play.conversation, typing=True), at=play.calls_at)
    assert (await play.bob.stream.next("typing")).user_id == play.alice.user_id


async def test_cursor_is_interchangeable_between_stream_and_call(play: Play) -> None:
    await play.tab.subscribe(at=play.stream_at)
    cursor = (await play.tab.next("changes")).cursor
    await play.tab.close()
    seq = await play.bob.sent(play.conversation, "while the tab was closed")
    changed = await play.tab.ask(chat_pb2.ListChangesRequest(cursor=cursor), at=play.calls_at)
    assert list(changed.changes.conversation_ids) == [play.conversation]
    assert changed.changes.last_page
    listed = await play.tab.ask(fetch(play.conversation, seq - 1), at=play.calls_at)
    assert [each.seq for each in listed.entries.entries] == [seq]
    assert listed.entries.ranges[0].complete
    tab = Browser(play.world.stack.door, play.alice.token)
    await tab.subscribe(chat_pb2.Hello(cursor=changed.changes.cursor), at=play.calls_at)
    assert (await tab.next("changes")).resync == chat_pb2.Changes.RESYNC_UNSPECIFIED
    await tab.close()


async def test_changes_are_listed_in_pages(play: Play) -> None:
    others = await play.world.users(*["somebody"] * 4)
    conversations = {play.conversation, *[await play.alice.direct(other) for other in others]}
    named, request = list[str](), chat_pb2.ListChangesRequest(page_size=2)
    while True:
        page = await play.tab.ask(request)
        named += page.changes.conversation_ids
        assert page.changes.resync == chat_pb2.Changes.RESYNC_NO_CURSOR
        assert page.changes.last_page == page.changes.HasField("cursor") == (not page.next_page_token)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert len(named) == len(set(named)) == 5
    assert set(named) == conversations
    request.page_token = "bm9uc2Vuc2U"
    assert (await play.tab.refusal(request)).said == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_stream_calls_reach_stream_on_another_server(play: Play) -> None:
    await play.tab.subscribe(at=play.stream_at)
    beat = await play.tab.ask(chat_pb2.HeartbeatRequest(), at=play.calls_at)
    assert beat.server_time.seconds > 0
    token = play.world.token(play.alice.user_id, play.alice.device_id)
    answer = await play.tab.ask(chat_pb2.ReauthenticateRequest(access_token=token), at=play.calls_at)
    assert answer.token_expire_time.seconds > beat.server_time.seconds
    other = play.world.token(play.bob.user_id, play.bob.device_id)
    refused = await play.tab.refusal(chat_pb2.ReauthenticateRequest(access_token=other), at=play.calls_at)
    assert refused.said == ("UNAUTHENTICATED", "TOKEN_INVALID")


async def test_stream_call_without_stream_is_refused(play: Play) -> None:
    token = play.world.token(play.alice.user_id, play.alice.device_id)
    for request in (chat_pb2.HeartbeatRequest(), chat_pb2.ReauthenticateRequest(access_token=token)):
        refused: Refusal = await play.tab.refusal(request)
        assert refused.said == ("FAILED_PRECONDITION", "STREAM_NOT_CONNECTED")


async def test_second_tab_of_device_supersedes_first(play: Play) -> None:
    await play.tab.subscribe(at=play.stream_at)
    second = Browser(play.world.stack.door, play.alice.token)
    await second.subscribe(at=play.calls_at)
    error = await play.tab.next("error")
    assert error.final
    assert of_status(error.status).said == ("ABORTED", "SESSION_SUPERSEDED")
    await second.close()


async def test_refused_call_carries_reason(play: Play) -> None:
    refused = await play.tab.refusal(send("0" * 32, "anybody?"))
    assert refused.said == ("NOT_FOUND", "CONVERSATION_NOT_FOUND")

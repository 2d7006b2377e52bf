"""A device of the SDK: its sends, its events, its stored state, and its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from parley.chat.v1 import chat_pb2
from parley_client import (
    CaughtUp,
    Client,
    ConnectionChanged,
    ConnectionState,
    Device,
    EntryReceived,
    FileStore,
    InvalidRequest,
    MemoryStore,
    NotFound,
    SendQueueFull,
    SignedOut,
    Superseded,
    TypingChanged,
    WatermarkMoved,
    WrongDoor,
)
from servicekit.errors import ServerDraining
from servicekit.status import to_proto
from tests.eventually import eventually
from tests.proxy.frame_faults import Caller, Filter
from tests.proxy.rpc import ProxiedStream, Proxy
from tests.raw.world import PASSWORD
from tests.scenarios.sdk.people import Pair, People, until, user_id

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

Frame = chat_pb2.ConnectResponse
DAY = 86_400.0
# Ahead of what a device has in flight, and within what it may send at once.
MORE_THAN_IT_HOLDS = 50


async def texts(device: Device, count: int) -> list[str | None]:
    heard: list[str | None] = []
    while len(heard) < count:
        event = await until(device, EntryReceived)
        if event.text is not None:
            heard.append(event.text)
    return heard


async def end_of(device: Device) -> ConnectionChanged:
    while (event := await until(device, ConnectionChanged)).state is not ConnectionState.ENDED:
        pass
    return event


async def test_message_reaches_peer_and_its_receipts_return(people: People, pair: Pair) -> None:
    alices, bobs = await people.device(pair.alice), await people.device(pair.bob)
    sent = await alices.send(pair.chat, "hello")
    assert sent.seq == 2
    assert await texts(bobs, 1) == ["hello"]
    bobs.mark_read(pair.chat, sent.seq)
    moved = await until(alices, WatermarkMoved)
    while moved.read_seq < sent.seq:
        moved = await until(alices, WatermarkMoved)
    assert (moved.user_id, moved.delivered_seq) == (bobs.user_id, 2)
    assert bobs.watermark(pair.chat, alices.user_id) == (2, 2), "whoever wrote it has read it"


async def test_restarted_device_resumes_from_acknowledged_entry(people: People, pair: Pair) -> None:
    phone = await people.client("bob", MemoryStore())
    alices = await people.device(pair.alice)
    await alices.send(pair.chat, "one")
    async with phone.connect() as device:
        assert await texts(device, 1) == ["one"]
        await until(device, CaughtUp)
    await asyncio.gather(*[alices.send(pair.chat, word) for word in ("two", "three")])
    async with phone.connect() as device:
        assert await texts(device, 2) == ["two", "three"]
    streams = [each for each in people.proxy.streams if each.caller and each.caller.device_id == device.device_id]
    hellos = [each.requests[0].hello for each in streams]
    assert [each.HasField("cursor") for each in hellos] == [False, False], "CaughtUp was not yet taken"


async def test_cursor_is_saved_after_all_earlier_events_are_consumed(people: People, pair: Pair) -> None:
    store = MemoryStore()
    phone = await people.client("bob", store)
    await pair.alice.messages.send(pair.chat, "one")
    async with phone.connect() as device:
        await until(device, EntryReceived)
    assert store.load_state().cursor is None
    async with phone.connect() as device:
        await until(device, CaughtUp)
        device.set_typing(pair.chat)
        await pair.alice.messages.set_reaction(pair.chat, 2, "👍")
        await until(device, EntryReceived)
    assert store.load_state().cursor is not None
    assert store.load_state().last_seqs[pair.chat] == 2


async def test_long_absence_is_fetched_in_pages(people: People, pair: Pair) -> None:
    said = [str(n) for n in range(40)]
    for text in said:
        await pair.alice.messages.send(pair.chat, text)

    def with_small_pages(_: Caller, frame: Frame) -> Frame:
        if frame.HasField("welcome"):
            frame.welcome.limits.range_entries = 7
        return frame

    people.proxy.rule = Filter(with_small_pages)
    assert await texts(await people.device(pair.bob), 40) == said
    fetched = [each for request in people.proxy.requests for each in request.fetch.ranges]
    assert [each.after_seq for each in fetched][:6] == [0, 7, 14, 21, 28, 35]


async def test_permanent_refusal_is_typed_and_later_sends_pass(people: People, pair: Pair) -> None:
    alices = await people.device(pair.alice)
    with pytest.raises(NotFound) as caught:
        await alices.send("ab" * 16, "nobody is here")
    assert caught.value.reason == "CONVERSATION_NOT_FOUND"
    assert (await alices.send(pair.chat, "hello")).seq == 2


async def read_to_the_end(device: Device) -> None:
    async for _ in device:
        pass


async def test_superseded_device_ends_without_reconnecting(people: People) -> None:
    alice = await people.client("alice")
    first = await people.device(alice)
    second = await people.device(alice)
    assert isinstance((await end_of(first)).error, Superseded)
    for _ in range(2):
        with pytest.raises(Superseded):
            await read_to_the_end(first)
    with pytest.raises(Superseded):
        first.send("ab" * 16, "from the superseded stream")
    with pytest.raises(Superseded):
        await first.wait_connected()
    assert not first.connected
    assert second.connected
    assert alice.session is not None, "the session is that of the newer stream"


async def test_revoked_device_ends_without_reconnecting(people: People, pair: Pair) -> None:
    device = await people.device(pair.alice)
    await (await people.client("alice")).accounts.revoke_device(device.device_id)
    assert isinstance((await end_of(device)).error, SignedOut)
    for _ in range(2):
        with pytest.raises(SignedOut):
            await read_to_the_end(device)
    with pytest.raises(SignedOut):
        device.send(pair.chat, "from the revoked device")
    with pytest.raises(SignedOut):
        await device.wait_connected()
    with pytest.raises(SignedOut):
        await pair.alice.conversations.get(pair.chat)
    with pytest.raises(SignedOut):
        pair.alice.connect()


async def test_iteration_of_a_closed_device_ends_without_an_error(people: People, pair: Pair) -> None:
    async with pair.alice.connect() as device:
        reading = asyncio.create_task(read_to_the_end(device))
        await device.wait_connected()
    await reading


@pytest.mark.parametrize("connected", [True, False])
async def test_session_of_a_revoked_device_is_forgotten(people: People, tmp_path: Path, connected: bool) -> None:
    store = FileStore(tmp_path / "alice.json")
    phone = await people.client("alice", store)
    laptop = await people.client("alice")
    device_id = phone.session.device_id if phone.session else ""
    device = await people.device(phone) if connected else None
    await laptop.accounts.revoke_device(device_id)
    with pytest.raises(SignedOut):
        await (read_to_the_end(device) if device else phone.accounts.get_profile())
    assert phone.session is None
    assert (await people.client_without_session(FileStore(store.path))).session is None
    await phone.accounts.login(people.login_name("alice"), PASSWORD)
    assert (await phone.accounts.get_profile()).display_name == "alice"


async def test_session_that_another_program_moves_ends_the_device(people: People, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "alice.json")
    await people.client("alice")
    phone = await people.client_without_session(store)
    await phone.accounts.login(people.login_name("alice"), PASSWORD)
    async with Proxy(people.proxy.address) as other:
        mover = Client(other.address, store=FileStore(store.path))
        mover.move_session()
        # The other program renews the tokens, and the device here must not send the new ones to the old door.
        moved = await mover.accounts.refresh()
        device = await people.device(phone)
        with pytest.raises(WrongDoor):
            await phone.accounts.refresh()
        await people.proxy.end_all(to_proto(ServerDraining("the server drains")))
        with pytest.raises(WrongDoor):
            await read_to_the_end(device)
        assert store.load() == moved


async def test_session_of_a_newer_login_outlives_the_revoked_one(people: People, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "alice.json")
    old = await people.client("alice", store)
    new = await people.client_without_session(FileStore(store.path))
    session = await new.accounts.login(people.login_name("alice"), PASSWORD)
    await new.accounts.revoke_device(old.session.device_id if old.session else "")
    with pytest.raises(SignedOut):
        await old.accounts.get_profile()
    assert store.load() == session


async def test_send_outside_of_the_open_device_is_refused_at_once(people: People, pair: Pair) -> None:
    device = pair.alice.connect()
    with pytest.raises(RuntimeError, match="async with"):
        device.send(pair.chat, "before")
    async with device:
        await device.send(pair.chat, "within")
    with pytest.raises(RuntimeError, match="async with"):
        device.send(pair.chat, "after")


async def test_many_sends_wait_for_room_in_the_queue(people: People, pair: Pair) -> None:
    device = await people.device(pair.alice)
    device._protocol.send_queue._capacity = 3
    said = [str(n) for n in range(20)]
    results = await device.send_many(pair.chat, said)
    assert [each.seq for each in results] == [*range(2, 22)]
    assert [each.text async for each in pair.bob.messages.list_before(pair.chat)] == said[::-1]

    async def more() -> AsyncIterator[str]:
        for text in ("one", "two"):
            yield text

    assert [each.seq for each in await device.send_many(pair.chat, more())] == [22, 23]
    assert await device.send_many(pair.chat, []) == []
    for text in said[:3]:
        device.send(pair.chat, text)
    with pytest.raises(SendQueueFull):
        device.send(pair.chat, "too many")


async def test_refused_message_does_not_keep_later_ones_from_being_sent(people: People, pair: Pair) -> None:
    device = await people.device(pair.alice)
    with pytest.raises(InvalidRequest):
        await device.send_many(pair.chat, ["one", "", "three"])
    assert [each.text async for each in pair.bob.messages.list_before(pair.chat)] == ["three", "one"]


async def test_waiting_for_room_ends_with_the_connection(people: People, pair: Pair) -> None:
    async def withhold(_: ProxiedStream, frame: chat_pb2.ConnectRequest) -> bool:
        return frame.HasField("send_message")

    people.proxy.answered = withhold
    device = await people.device(pair.alice)
    device._protocol.send_queue._capacity = 1
    sending = asyncio.create_task(device.send_many(pair.chat, ["one", "two"]))
    await eventually(lambda: any(each.HasField("send_message") for each in people.proxy.requests))
    await people.device(pair.alice)
    with pytest.raises(Superseded):
        await sending


async def test_expiring_token_is_renewed_on_open_stream(people: People, proxy: Proxy) -> None:
    await people.client("alice")
    store = MemoryStore()
    phone = await people.client_without_session(store)
    session = await phone.accounts.login(people.login_name("alice"), PASSWORD)
    # A token is renewed 60 s before its end.
    store.save(replace(session, access_token_ends=time.time() + 61.5))
    await people.device(await people.client_without_session(store))
    await eventually(lambda: any(frame.HasField("reauthenticate") for frame in proxy.requests))
    [stream] = proxy.streams
    [renewed] = [each.reauthenticate for each in stream.requests if each.HasField("reauthenticate")]
    assert renewed.access_token != session.access_token


async def test_unread_events_stop_reading_of_stream(people: People, pair: Pair) -> None:
    bobs = await people.device(pair.bob, capacity=4)
    other = await people.device(await people.client("bob"))
    said = [str(n) for n in range(MORE_THAN_IT_HOLDS)]
    for text in said:
        await pair.alice.messages.send(pair.chat, text)
    assert await texts(other, MORE_THAN_IT_HOLDS) == said
    assert bobs.last_seq(pair.chat) < MORE_THAN_IT_HOLDS
    assert await texts(bobs, MORE_THAN_IT_HOLDS) == said


async def test_device_with_wrong_clock_uses_server_time_in_ids(people: People, pair: Pair) -> None:
    carol = await people.client_without_session()
    carol._clock._local_time = lambda: time.time() + DAY
    await carol.accounts.register(people.login_name("carol"), PASSWORD)
    chat = (await carol.conversations.get_or_create_direct(pair.bob_id)).conversation_id
    sending = (await people.device(carol)).send(chat, "hello")
    made = int(sending.client_message_id.replace("-", "")[:12], 16) / 1000
    assert abs((await sending).time.timestamp() - made) < 60


async def test_typing_reaches_peer(people: People, pair: Pair) -> None:
    alices, bobs = await people.device(pair.alice), await people.device(pair.bob)
    alices.set_typing(pair.chat)
    assert await until(bobs, TypingChanged) == TypingChanged(pair.chat, alices.user_id, True)


async def test_sent_message_ends_typing(people: People, proxy: Proxy, pair: Pair) -> None:
    alices, bobs = await people.device(pair.alice), await people.device(pair.bob)
    for _ in range(5):
        alices.set_typing(pair.chat)
    assert (await until(bobs, TypingChanged)).typing
    await alices.send(pair.chat, "said")
    assert not (await until(bobs, TypingChanged)).typing
    assert sum(frame.HasField("typing") for frame in proxy.requests) == 1
    alices.set_typing(pair.chat)
    await eventually(lambda: sum(frame.HasField("typing") for frame in proxy.requests) == 2)


async def test_stream_carries_home_as_routing_hint(people: People, proxy: Proxy) -> None:
    alice = await people.client("alice")
    device, home = await people.device(alice), people.world.home_of(user_id(alice))
    assert [(each.caller, each.hint) for each in proxy.streams] == [(Caller(device.user_id, device.device_id), home)]
    assert device.home == home


async def test_device_without_history_starts_at_head(people: People, pair: Pair) -> None:
    await pair.alice.messages.send(pair.chat, "old")
    bobs = await people.device(pair.bob, history_from_start=False)
    await until(bobs, CaughtUp)
    await pair.alice.messages.send(pair.chat, "new")
    assert await texts(bobs, 1) == ["new"]


async def test_ranges_and_messages_are_read_by_call(pair: Pair) -> None:
    await pair.alice.messages.send(pair.chat, "hello")
    answer = await pair.alice.messages.list_entries([chat_pb2.EntryRange(conversation_id=pair.chat)])
    assert [each.seq for each in answer.entries] == [1, 2]
    assert [each.text async for each in pair.alice.messages.list_before(pair.chat)] == ["hello"]

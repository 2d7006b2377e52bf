"""A device keeps its place: order, gaps, sends, receipts and tokens over a stream that misbehaves."""

import asyncio
from collections.abc import Callable

import pytest

from parley.chat.v1 import chat_pb2, entry_pb2
from parley_client import (
    CaughtUp,
    Client,
    ConnectionChanged,
    ConnectionState,
    Device,
    EntryReceived,
    MemoryStore,
    NotFound,
    SignedOut,
    Superseded,
    TimedOut,
    TypingChanged,
    WatermarkMoved,
)
from tests.eventually import eventually
from tests.unit.client.conftest import Cast, until
from tests.unit.client.stage import Frame, Stage, Stream, status


async def pair(cast: Cast) -> tuple[Client, Client, str]:
    alice, bob = await cast.client("alice"), await cast.client("bob")
    profile = await alice.accounts.find("bob")
    chat = await alice.conversations.get_or_create_direct(profile.user_id)
    return alice, bob, chat.conversation_id


async def texts(device: Device, count: int) -> list[str | None]:
    heard: list[str | None] = []
    while len(heard) < count:
        event = await until(device, EntryReceived)
        if event.text is not None:
            heard.append(event.text)
    return heard


async def test_a_message_reaches_the_other_device_and_its_receipts_come_back(cast: Cast) -> None:
    alice, bob, chat = await pair(cast)
    alices, bobs = await cast.device(alice), await cast.device(bob)
    sent = await alices.send(chat, "hello")
    assert sent.seq == 2
    assert await texts(bobs, 1) == ["hello"]
    bobs.mark_read(chat, sent.seq)
    moved = await until(alices, WatermarkMoved)
    while moved.read_seq < sent.seq:
        moved = await until(alices, WatermarkMoved)
    assert (moved.user_id, moved.delivered_seq) == (bobs.user_id, 2)
    assert bobs.watermark(chat, alices.user_id) == (2, 2), "whoever wrote it has read it"


async def test_many_sends_keep_their_order_through_a_refusal_by_rate(cast: Cast) -> None:
    alice, bob, chat = await pair(cast)
    alices, bobs = await cast.device(alice), await cast.device(bob)
    cast.stage.refusals = [status("RESOURCE_EXHAUSTED", "RATE_LIMITED", 0.02)]
    said = [f"word {n}" for n in range(20)]
    await asyncio.gather(*[alices.send(chat, word) for word in said])
    assert await texts(bobs, 20) == said


async def test_a_lost_frame_is_fetched_and_everything_comes_once_and_in_order(cast: Cast, stage: Stage) -> None:
    alice, bob, chat = await pair(cast)
    alices, bobs = await cast.device(alice), await cast.device(bob)
    await until(bobs, CaughtUp)
    stage.filter = lose(bobs.device_id, {3, 4})
    for word in ("two", "three", "four", "five"):
        await alices.send(chat, word)
    assert await texts(bobs, 4) == ["two", "three", "four", "five"]


async def test_a_lost_last_frame_is_noticed_by_the_answer_of_another(cast: Cast, stage: Stage) -> None:
    alice, bob, chat = await pair(cast)
    alices, bobs = await cast.device(alice), await cast.device(bob)
    other = await cast.device(await cast.client("bob"))
    await until(bobs, CaughtUp)
    stage.filter = lose(bobs.device_id, {2})
    await alices.send(chat, "the last word")
    await texts(other, 1)
    assert await texts(bobs, 1) == ["the last word"], "the receipt of the other device showed it"


async def test_without_repair_a_lost_frame_stays_lost(cast: Cast, stage: Stage) -> None:
    alice, bob, chat = await pair(cast)
    alices, bobs = await cast.device(alice), await cast.device(bob, repair=False)
    await until(bobs, CaughtUp)
    stage.filter = lose(bobs.device_id, {3})
    for word in ("two", "three", "four"):
        await alices.send(chat, word)
    assert await texts(bobs, 2) == ["two", "four"]


def lose(device: str, seqs: set[int]) -> Callable[[Stream, Frame], Frame | None]:
    def lossy(stream: Stream, frame: Frame) -> Frame | None:
        live = frame.HasField("entries") and not frame.entries.ranges
        lost = live and stream.device == device and frame.entries.entries[0].seq in seqs
        return None if lost else frame

    return lossy


async def test_a_restarted_device_goes_on_where_its_application_stood(cast: Cast) -> None:
    alice, _, chat = await pair(cast)
    store = MemoryStore()
    phone = await cast.client("bob", store)
    alices = await cast.device(alice)
    await alices.send(chat, "one")
    async with phone.connect() as device:
        assert await texts(device, 1) == ["one"]
        await until(device, CaughtUp)
    await asyncio.gather(*[alices.send(chat, word) for word in ("two", "three")])
    async with phone.connect() as device:
        assert await texts(device, 2) == ["two", "three"]
    received = cast.stage.received
    *_, restarted = [number for number, frame in enumerate(received) if frame.HasField("hello")]
    assert [each.after_seq for frame in received[restarted:] for each in frame.fetch.ranges] == [2]


async def test_the_cursor_is_kept_once_all_before_it_was_taken(cast: Cast) -> None:
    alice, _, chat = await pair(cast)
    store = MemoryStore()
    phone = await cast.client("bob", store)
    await alice.messages.send(chat, "one")
    async with phone.connect() as device:
        await until(device, EntryReceived)
    assert store.load_state().cursor is None
    async with phone.connect() as device:
        await until(device, CaughtUp)
        device.typing(chat)
        cast.stage.append(cast.stage.logs[chat], entry())
        await until(device, EntryReceived)
    assert store.load_state().cursor is not None
    assert store.load_state().last_seqs[chat] == 2


def entry() -> entry_pb2.Entry:
    return entry_pb2.Entry(actor_id="00" * 16, conversation_updated=entry_pb2.ConversationUpdated(title="x"))


async def test_a_long_absence_is_fetched_in_pages(cast: Cast, stage: Stage) -> None:
    alice, bob, chat = await pair(cast)
    stage.page = 7
    for n in range(40):
        await alice.messages.send(chat, str(n))
    bobs = await cast.device(bob)
    assert await texts(bobs, 40) == [str(n) for n in range(40)]


async def test_sends_without_an_answer_go_out_again_in_order_on_the_next_stream(cast: Cast, stage: Stage) -> None:
    alice, bob, chat = await pair(cast)
    alices, bobs = await cast.device(alice), await cast.device(bob)
    stage.filter = lambda _, frame: None if frame.HasField("send_results") else frame
    sendings = [alices.send(chat, str(n)) for n in range(10)]
    assert await texts(bobs, 10) == [str(n) for n in range(10)]
    stage.filter = lambda _, frame: frame
    stage.break_streams()
    sendings.append(alices.send(chat, "new"))
    assert [(await sending).seq for sending in sendings] == list(range(2, 13))
    assert await texts(bobs, 1) == ["new"]


async def test_a_final_refusal_is_typed_and_lets_the_next_ones_pass(cast: Cast, stage: Stage) -> None:
    alice, _, chat = await pair(cast)
    alices = await cast.device(alice)
    with pytest.raises(NotFound) as caught:
        await alices.send("ab" * 16, "nobody is here")
    assert caught.value.reason == "CONVERSATION_NOT_FOUND"
    assert (await alices.send(chat, "hello")).seq == 2


async def test_a_send_may_be_given_up(cast: Cast, stage: Stage) -> None:
    alice, _, chat = await pair(cast)
    alices = await cast.device(alice)
    stage.refusals = [status("UNAVAILABLE", "OWNER_UNAVAILABLE", 30.0)]
    with pytest.raises(TimedOut):
        await alices.send(chat, "never", seconds=0.1)
    assert (await alices.send(chat, "after")).seq == 2, "a new stream opens the lane of the one given up"


async def test_a_drain_moves_the_device_without_a_loss(cast: Cast, stage: Stage) -> None:
    alice, bob, chat = await pair(cast)
    alices, bobs = await cast.device(alice), await cast.device(bob)
    await until(bobs, CaughtUp)
    stage.drain(0.05)
    sendings = [alices.send(chat, str(n)) for n in range(10)]
    assert [(await sending).seq for sending in sendings] == list(range(2, 12))
    await eventually(lambda: len(stage.connects) == 4)
    await alices.send(chat, "after")
    assert await texts(bobs, 11) == [*(str(n) for n in range(10)), "after"]


async def test_a_silent_link_is_left(cast: Cast, stage: Stage) -> None:
    stage.heartbeat = 0.1
    alice, _, chat = await pair(cast)
    alices = await cast.device(alice)
    stage.mute = True
    await eventually(lambda: not alices.connected)
    stage.mute = False
    await alices.wait_connected()
    assert (await alices.send(chat, "still here")).seq == 2


async def test_a_newer_stream_of_the_device_ends_the_older_for_good(cast: Cast) -> None:
    alice, _, _ = await pair(cast)
    first = await cast.device(alice)
    await cast.device(alice)
    ended = await ended_with(first)
    assert isinstance(ended.error, Superseded)


async def test_a_revoked_device_ends_for_good(cast: Cast, stage: Stage) -> None:
    alice, _, chat = await pair(cast)
    device = await cast.device(alice)
    stage.revoke(device.device_id)
    ended = await ended_with(device)
    assert isinstance(ended.error, SignedOut)
    with pytest.raises(SignedOut):
        await alice.conversations.get(chat)


async def ended_with(device: Device) -> ConnectionChanged:
    while (event := await until(device, ConnectionChanged)).state is not ConnectionState.ENDED:
        pass
    return event


async def test_the_token_is_renewed_on_the_open_stream(cast: Cast, stage: Stage) -> None:
    stage.token_life, stage.heartbeat = 4.0, 0.2
    alice, _, _ = await pair(cast)
    await cast.device(alice)
    await eventually(lambda: any(frame.HasField("reauthenticate") for frame in stage.received))
    assert len(stage.connects) == 1


async def test_own_watermarks_are_told_again_until_they_are_confirmed(cast: Cast, stage: Stage) -> None:
    alice, bob, chat = await pair(cast)
    await alice.messages.send(chat, "hello")
    bobs = await cast.device(bob)
    await texts(bobs, 1)
    stage.filter = lambda _, frame: None if frame.HasField("watermarks") else frame
    bobs.mark_read(chat, 2)
    await eventually(lambda: told(stage, 2) == 1)
    stage.filter = lambda _, frame: frame
    stage.break_streams()
    await eventually(lambda: told(stage, 2) == 2)
    await eventually(lambda: bobs.watermark(chat, bobs.user_id) == (2, 2))
    assert bobs._dialogue.receipts.unconfirmed() == {}


def told(stage: Stage, read: int) -> int:
    receipts = [frame.receipts.receipts for frame in stage.received if frame.HasField("receipts")]
    return sum(each.read_seq == read for batch in receipts for each in batch)


async def test_an_application_that_does_not_listen_stops_the_stream(cast: Cast, stage: Stage) -> None:
    alice, bob, chat = await pair(cast)
    bobs = await cast.device(bob, capacity=4)
    for n in range(200):
        await alice.messages.send(chat, str(n))
    assert bobs.last_seq(chat) < 200
    assert await texts(bobs, 200) == [str(n) for n in range(200)]


async def test_a_device_whose_clock_is_wrong_makes_ids_from_the_servers(cast: Cast, stage: Stage) -> None:
    stage.clock_offset = -86_400.0
    alice, _, chat = await pair(cast)
    device = await cast.device(alice)
    sending = device.send(chat, "hello")
    made = int(sending.client_message_id.replace("-", "")[:12], 16) / 1000
    told = (await sending).time.timestamp()
    assert 86_000 < told - made < 87_000


async def test_typing_is_told(cast: Cast) -> None:
    alice, bob, chat = await pair(cast)
    alices, bobs = await cast.device(alice), await cast.device(bob)
    alices.typing(chat)
    assert await until(bobs, TypingChanged) == TypingChanged(chat, alices.user_id, True)


async def test_the_home_is_hinted(cast: Cast, stage: Stage) -> None:
    alice, _, _ = await pair(cast)
    device = await cast.device(alice)
    assert stage.connects == [(device.device_id, stage.home(device.user_id))]
    assert device.home == stage.home(device.user_id)


async def test_entries_from_the_head_only_when_history_is_not_wanted(cast: Cast) -> None:
    alice, bob, chat = await pair(cast)
    await alice.messages.send(chat, "old")
    bobs = await cast.device(bob, history_from_start=False)
    await until(bobs, CaughtUp)
    await alice.messages.send(chat, "new")
    assert await texts(bobs, 1) == ["new"]


async def test_raw_ranges_by_call(cast: Cast) -> None:
    alice, _, chat = await pair(cast)
    await alice.messages.send(chat, "hello")
    answer = await alice.messages.entries([chat_pb2.EntryRange(conversation_id=chat)])
    assert [each.seq for each in answer.entries] == [1, 2]
    shown = [each.message_appended.content.text.body async for each in alice.messages.before(chat)]
    assert shown == ["hello"]

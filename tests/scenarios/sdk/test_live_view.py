"""A view that loads itself and stays current, and the messages of views, of the history and of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from parley.chat.v1 import entry_pb2
from parley_client import (
    CaughtUp,
    Client,
    ConversationView,
    DeliveryStatus,
    Device,
    EntryReceived,
    Message,
    NotFound,
    TypingChanged,
)
from tests.eventually import eventually
from tests.scenarios.sdk.people import Pair, People, until, user_id

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]


@asynccontextmanager
async def running(client: Client, *, history_from_start: bool = True) -> AsyncIterator[Device]:
    """Yield a connected device whose events are handled in a task, after it has caught up."""
    caught_up = asyncio.Event()
    async with client.connect(history_from_start=history_from_start) as device:
        device.on(CaughtUp)(lambda _: caught_up.set())
        task = asyncio.create_task(device.run())
        try:
            await asyncio.wait_for(caught_up.wait(), 20.0)
            yield device
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def texts(view: ConversationView) -> list[str]:
    return [each.text for each in view.messages]


async def test_view_is_loaded_with_title_members_history_and_unread_count(people: People, pair: Pair) -> None:
    sent = [await pair.bob.messages.send(pair.chat, f"word {n}") for n in range(3)]
    await pair.alice.messages.delete(pair.chat, sent[0].seq, for_all=False)
    view = await pair.alice.view(pair.chat)
    assert (view.title, set(view.members)) == ("bob", {pair.alice_id, pair.bob_id})
    assert (texts(view), view.unread_count, view.complete) == (["word 1", "word 2"], 3, True)
    assert await pair.alice.view(pair.chat) is view
    group = await pair.alice.conversations.create_group("Friday", [pair.bob_id])
    assert (await pair.bob.view(group.conversation_id)).title == "Friday"
    with pytest.raises(NotFound):
        await pair.alice.view("ab" * 16)


async def test_loaded_view_knows_who_has_read(people: People, pair: Pair) -> None:
    sent = await pair.alice.messages.send(pair.chat, "hello")
    async with running(pair.bob) as device:
        device.mark_read(pair.chat, sent.seq)

        async def is_read() -> bool:
            view = await (await people.client("alice")).view(pair.chat)
            return view.delivery_status(view.messages[-1]) is DeliveryStatus.READ

        await eventually(is_read)


@pytest.mark.parametrize("history_from_start", [True, False])
async def test_view_stays_current_while_the_device_runs(pair: Pair, history_from_start: bool) -> None:
    group = (await pair.alice.conversations.create_group("Friday", [pair.bob_id])).conversation_id
    first = await pair.bob.messages.send(group, "first")
    async with running(pair.alice, history_from_start=history_from_start) as device:
        view = await pair.alice.view(group)
        own = await device.send(group, "own")
        await pair.bob.messages.edit(group, first.seq, "edited")
        await pair.bob.messages.set_reaction(group, own.seq, "👍")
        await pair.bob.messages.send(group, "last")
        await pair.alice.conversations.rename(group, "Saturday")
        await eventually(lambda: view.title == "Saturday")
        assert texts(view) == ["edited", "own", "last"]
        assert view.messages[1].reactions == {pair.bob_id: "👍"}
        assert view.unread_count == 1
        device.mark_read(group, view.head_seq)
        await eventually(lambda: view.unread_count == 0)


async def test_view_loaded_before_a_device_without_history_misses_nothing(pair: Pair) -> None:
    old = await pair.bob.messages.send(pair.chat, "old")
    view = await pair.alice.view(pair.chat)
    for n in range(3):
        await pair.bob.messages.send(pair.chat, f"between {n}")
    await pair.bob.messages.edit(pair.chat, old.seq, "edited between")
    async with running(pair.alice, history_from_start=False):
        assert texts(view) == ["edited between", "between 0", "between 1", "between 2"]
        assert view.unread_count == 4
        await pair.bob.messages.send(pair.chat, "live")
        await eventually(lambda: texts(view)[-1] == "live")
        assert view.unread_count == 5


async def test_older_history_is_loaded_in_pages(people: People, pair: Pair) -> None:
    await people.write_history("bob", pair.chat, [str(n) for n in range(60)])
    view = await pair.alice.view(pair.chat)
    assert texts(view) == [str(n) for n in range(10, 60)]
    assert await view.load_older(4)
    assert texts(view)[:4] == ["6", "7", "8", "9"]
    assert not await view.load_older()
    assert texts(view) == [str(n) for n in range(60)]


async def test_readded_member_sees_the_changes_in_between(people: People, pair: Pair) -> None:
    carol = user_id(await people.client("carol"))
    group = (await pair.alice.conversations.create_group("Friday", [pair.bob_id])).conversation_id
    async with running(pair.bob):
        view = await pair.bob.view(group)
        await pair.alice.conversations.remove_member(group, pair.bob_id)
        await eventually(lambda: view.is_former_member)
        await pair.alice.conversations.rename(group, "Saturday")
        await pair.alice.conversations.add_members(group, [carol])
        await pair.alice.conversations.add_members(group, [pair.bob_id])
        await eventually(lambda: not view.is_former_member)
        await eventually(lambda: view.title == "Saturday")
        assert set(view.members) == {pair.alice_id, pair.bob_id, carol}


async def from_history(client: Client, chat: str) -> Message:
    [message] = [each async for each in client.messages.list_before(chat)]
    return message


async def from_search(client: Client, chat: str) -> Message:
    [message] = [each async for each in client.messages.search("findable", chat)]
    return message


async def from_view(client: Client, chat: str) -> Message:
    return (await client.view(chat)).messages[-1]


async def from_event(client: Client, chat: str) -> Message:
    async with client.connect() as device:
        while True:
            event = await until(device, EntryReceived)
            if event.conversation_id == chat and event.message is not None:
                return event.message


@pytest.mark.parametrize("source", [from_history, from_search, from_view, from_event])
async def test_message_of_any_source_is_answered_and_changed(
    pair: Pair, source: Callable[[Client, str], Awaitable[Message]]
) -> None:
    await pair.alice.messages.send(pair.chat, "findable")
    message = await source(pair.alice, pair.chat)
    assert (message.conversation_id, message.text, message.actor_id) == (pair.chat, "findable", pair.alice_id)
    reply = await message.reply("an answer")
    await message.react("👍")
    await message.edit("changed")
    forwarded = await message.forward(pair.chat)
    shown = {each.seq: each async for each in pair.bob.messages.list_before(pair.chat)}
    assert (shown[reply.seq].reply_to_seq, shown[forwarded.seq].text) == (message.seq, "findable")
    assert (shown[message.seq].text, shown[message.seq].reactions) == ("changed", {pair.alice_id: "👍"})
    await message.delete()
    assert (await from_view(pair.bob, pair.chat)).seq == forwarded.seq
    view = await pair.bob.view(pair.chat)
    gone = view.message(message.seq)
    assert gone is not None
    assert gone.deleted


async def test_handlers_are_called_in_order_before_the_iteration(people: People, pair: Pair) -> None:
    device = await people.device(pair.bob)
    seen: list[str] = []

    @device.on_message
    async def hear(message: Message) -> None:
        seen.append(f"message {message.text}")

    @device.on(EntryReceived)
    def note(event: EntryReceived) -> None:
        seen.append(f"entry {event.text}")

    @device.on(TypingChanged)
    def never(event: TypingChanged) -> None:
        raise AssertionError(event)

    await pair.alice.messages.send(pair.chat, "hello")
    while (await until(device, EntryReceived)).text != "hello":
        pass
    assert seen[-2:] == ["message hello", "entry hello"]
    await device.send(pair.chat, "own")
    while (await until(device, EntryReceived)).text != "own":
        pass
    assert seen[-1] == "entry own", "own messages are not given to on_message"
    assert "message own" not in seen


async def test_error_of_a_handler_ends_the_run(people: People, pair: Pair) -> None:
    device = await people.device(pair.bob)

    @device.on_message
    def fail(message: Message) -> None:
        raise ValueError(message.text)

    await pair.alice.messages.send(pair.chat, "trouble")
    with pytest.raises(ValueError, match="trouble"):
        await device.run()


async def test_handler_that_awaits_a_send_is_not_blocked_by_queued_events(people: People, pair: Pair) -> None:
    for n in range(30):
        await pair.alice.messages.send(pair.chat, str(n))
    answered: list[int] = []
    # Far fewer events than arrive while the first answer is awaited.
    async with pair.bob.connect(capacity=2) as device:

        @device.on_message
        async def answer(message: Message) -> None:
            await device.send(pair.chat, f"to {message.text}")
            answered.append(message.seq)

        task = asyncio.create_task(device.run())
        await eventually(lambda: len(answered) == 30, 30.0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_device_that_discards_events_is_not_iterated(people: People, pair: Pair) -> None:
    device = await people.device(pair.bob, listen=False)
    with pytest.raises(RuntimeError, match="listen=False"):
        await device.run()


def test_message_without_a_client_says_so() -> None:
    entry = entry_pb2.Entry(seq=1, message_appended=entry_pb2.MessageAppended())
    message = Message.from_entry(entry)
    with pytest.raises(RuntimeError, match="came from no client"):
        asyncio.run(message.react("👍"))
    with pytest.raises(ValueError, match="no content"):
        asyncio.run(message.forward("ab" * 16))
    with pytest.raises(ValueError, match="is not a message"):
        Message.from_entry(entry_pb2.Entry(seq=1))

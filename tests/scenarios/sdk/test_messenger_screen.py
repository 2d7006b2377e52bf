"""The messenger as a user sees it: keys as input, the screen's text as output."""

from __future__ import annotations

from datetime import datetime

import pytest
from rich.cells import cell_len

from parley.chat.v1 import chat_pb2
from parley_client import Superseded
from tests.eventually import eventually
from tests.proxy.frame_faults import Caller, Filter
from tests.proxy.rpc import Proxy
from tests.scenarios.sdk.people import Pair, People
from tests.scenarios.sdk.terminal_screen import Screen, messenger

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

SILENCE = Filter(lambda *_: None)


async def said(pair: Pair) -> list[str]:
    newest_first = [each.text async for each in pair.bob.messages.list_before(pair.chat)]
    return newest_first[::-1]


async def choose_newest(screen: Screen, *keys: str) -> None:
    await screen.press("up", *keys)


async def test_conversation_shows_unread_counts_ticks_and_typing(people: People, pair: Pair) -> None:
    await pair.bob.messages.send(pair.chat, "are you there?")
    async with messenger(pair.alice) as screen:
        await screen.shows("  1 bob")
        await screen.press("enter")
        await screen.shows("are you there?", "Write, Enter sends")
        await screen.hides("  1 bob")
        await screen.say("yes I am")
        await screen.shows("✓  yes I am", "✓ sent")
        bobs = await people.device(pair.bob)
        bobs.mark_read(pair.chat, 3)
        await screen.shows("✓✓ yes I am", "✓✓ read")
        bobs.set_typing(pair.chat)
        await screen.shows("bob is typing…")
        await bobs.send(pair.chat, "good")
        await screen.shows("good")
        await screen.hides("typing…")
        assert screen.text.count("bob") == 4, f"the list, the title, and who speaks twice:\n{screen.text}"


async def test_keystrokes_send_one_typing_frame(people: People, proxy: Proxy, pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.write("hello")
        await eventually(lambda: [each.typing.typing for each in proxy.requests if each.HasField("typing")] == [True])
        await screen.press("enter")
        await screen.shows("✓  hello")


async def test_burst_of_keys_is_handled_in_order(people: People, pair: Pair) -> None:
    await people.client("carol")
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        screen.burst(
            *"all", "enter", *"one", "ctrl+j", *"tow", "backspace", "left", *"w", "delete", *"o", "enter", *"on"
        )
        await screen.shows("✓  all", "✓  one", "two", "on")
    assert await said(pair) == ["all", "one\ntwo"]


async def test_draft_stays_in_its_conversation(people: People, pair: Pair) -> None:
    carol = await people.client("carol")
    await carol.conversations.get_or_create_direct(pair.alice_id)
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends", "carol")
        screen.burst(*"for", "enter", *"bob", "ctrl+down", "ctrl+up", *"s")
        await screen.shows("✓  for")
        await screen.shows("bobs")
    assert await said(pair) == ["for"]


async def test_quitting_with_unsent_message_warns(proxy: Proxy, pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        proxy.rule = SILENCE
        screen.burst(*"bye", "enter", "ctrl+q")
        await screen.shows("1 not sent yet. Ctrl+Q again")


async def test_message_is_answered_edited_reacted_to_and_deleted(pair: Pair) -> None:
    sent = await pair.bob.messages.send(pair.chat, "shall we meet?")
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("shall we meet?")
        await choose_newest(screen, "r")
        await screen.shows("Replying to (Esc: cancel) bob: shall we meet?")
        await screen.say("at nine")
        await screen.shows("↳ bob: shall we meet?", "at nine")
        await choose_newest(screen, "e")
        await screen.shows("Editing (Esc: cancel) You: at nine")
        await screen.say("or ten")
        await screen.shows("at nineor ten (edited)", "↳ bob: shall we meet?")
        await choose_newest(screen, "up", "x")
        await screen.press("down", "enter")
        await screen.shows("❤")
        await pair.bob.messages.set_reaction(pair.chat, sent.seq, "❤")
        await screen.shows("❤ 2")
        await pair.bob.messages.edit(pair.chat, sent.seq, "shall we eat?")
        await screen.shows("↳ bob: shall we eat?", "shall we eat? (edited)")
        await screen.press("escape")
        await choose_newest(screen, "d", "enter")
        await screen.shows("message deleted")
        await choose_newest(screen, "up", "d")
        await screen.shows("Only for me")
        await screen.press("enter")
        await screen.hides("shall we eat? (edited)")


async def test_message_menu_forwards_message_and_lists_readers(pair: Pair, people: People) -> None:
    group = await pair.alice.conversations.create_group("Friday", [pair.bob_id])
    async with messenger(pair.alice, group.conversation_id) as screen:
        await screen.shows("Friday  2 members")
        await screen.say("cake at four")
        await screen.shows("✓  cake at four")
        await choose_newest(screen, "i")
        await screen.shows("Who read it", "not yet  bob")
        await screen.press("escape", "enter")
        await screen.shows("Forward")
        await screen.press("down", "down", "down", "enter")
        await screen.shows("Forward to")
        await screen.press("down", "enter")
        await screen.shows("Forwarded to bob.")
    [message] = [each async for each in pair.bob.messages.list_before(pair.chat)]
    assert message.content is not None
    assert message.content.forwarded


async def test_group_is_created_changed_and_left(people: People, pair: Pair) -> None:
    await people.client("carol")
    async with messenger(pair.alice) as screen:
        await screen.shows("bob")
        await screen.press("ctrl+g")
        await screen.shows("Create a group")
        await screen.say("Friday")
        nobody = people.login_name("nobody")
        await screen.say(f"{people.login_name('bob')} {nobody}")
        await screen.shows(f"There is no user {nobody}.")
        await screen.press("ctrl+g")
        await screen.say("Friday")
        await screen.say(people.login_name("bob"))
        await screen.shows("Friday  2 members")
        await screen.press("ctrl+o", "down", "enter")
        await screen.shows("Add people")
        await screen.say(people.login_name("carol"))
        await screen.shows("You added carol", "3 members")
        await screen.press("ctrl+o", "down", "down", "enter", "end")
        await screen.say(" night")
        await screen.shows("You renamed the group to Friday night")
        await screen.press("ctrl+o", "enter")
        await screen.shows("You  (admin)", "carol")
        await screen.press("down", "enter", "enter")
        await screen.shows("You made bob admin")
        await screen.press("ctrl+o", "end", "enter", "enter")
        await screen.shows("You left", "You are not a member any more")


async def test_conversation_with_new_peer_is_started(people: People, pair: Pair) -> None:
    await people.client("carol")
    async with messenger(pair.alice) as screen:
        await screen.shows("bob")
        await screen.press("ctrl+n")
        await screen.say(people.login_name("carol"))
        await screen.shows("Write, Enter sends")
        await screen.say("hello carol")
        await screen.shows("✓  hello carol")


async def test_search_result_opens_old_message(people: People, pair: Pair) -> None:
    await pair.bob.messages.send(pair.chat, "the blue door")
    await people.write_history("bob", pair.chat, [f"and on {number}" for number in range(70)])
    async with messenger(pair.alice) as screen:
        await screen.shows("bob")
        await screen.press("ctrl+f")
        await screen.say("door blue")
        await screen.shows("1 found", "bob · bob: the blue door")
        await screen.press("enter")
        await screen.shows("the blue door", "and on 3")
        await screen.press("r")
        await screen.shows("Replying to (Esc: cancel) bob: the blue door")


async def test_pinned_conversations_come_first_and_archived_are_hidden(people: People, pair: Pair) -> None:
    carol = await people.client("carol")
    other = (await carol.conversations.get_or_create_direct(pair.bob_id)).conversation_id
    await carol.messages.send(other, "hi bob")
    async with messenger(pair.bob, pair.chat) as screen:
        await screen.shows("Write, Enter sends", "carol", "alice")
        assert screen.text.index("carol") < screen.text.index("alice")
        await screen.press("ctrl+o", "enter")
        await eventually(lambda: "alice" in screen.lines[0])
        await pair.bob.conversations.archive(other)
        await screen.hides("carol")
        await screen.press("ctrl+r")
        await screen.shows("carol", "Archived conversations.")
        await screen.press("ctrl+r")
        await screen.hides("carol")


def beating_often(_: Caller, frame: chat_pb2.ConnectResponse) -> chat_pb2.ConnectResponse:
    """Shorten the heartbeat interval, because the messenger detects silence after some heartbeats."""
    if frame.HasField("welcome"):
        frame.welcome.heartbeat_interval.FromMilliseconds(100)
    return frame


async def test_lost_connection_is_shown_and_pending_message_is_sent(proxy: Proxy, pair: Pair) -> None:
    proxy.rule = Filter(beating_often)
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        proxy.rule = SILENCE
        await screen.shows("reconnecting…")
        await screen.say("are we back?")
        await screen.shows("…  are we back? (sending)", ", 1 to be sent")
        await screen.press("ctrl+q")
        await screen.shows("1 not sent yet. Ctrl+Q again")
        proxy.rule = None
        await screen.shows("✓  are we back?")
        await screen.hides("reconnecting…")


async def test_refused_message_shows_reason_and_can_be_resent(proxy: Proxy, pair: Pair) -> None:
    await pair.bob.accounts.block(pair.alice_id)
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.say("hello")
        await screen.shows("✗  hello", "One of you has blocked the other.", "Enter: send again")
        await pair.bob.accounts.unblock(pair.alice_id)
        await choose_newest(screen, "enter")
        await screen.shows("✓  hello")
        await screen.hides("blocked")


async def test_superseded_stream_ends_messenger(people: People, pair: Pair) -> None:
    async with messenger(pair.alice) as screen:
        await screen.shows("bob")
        await people.device(pair.alice)
        await eventually(lambda: isinstance(screen.app.return_value, Superseded))


async def test_small_terminal_shows_list_or_conversation(pair: Pair) -> None:
    await pair.bob.messages.send(pair.chat, "hello")
    async with messenger(pair.alice, size=(40, 12)) as screen:
        await screen.shows("  1 bob")
        await screen.press("enter")
        await screen.shows("hello", "Write, Enter sends")
        await screen.hides("›")
        await screen.press("escape")
        await screen.hides("Write, Enter sends")
        await screen.pilot.resize_terminal(80, 24)
        await screen.shows("›", "hello")


async def test_f1_shows_key_bindings(pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.press("f1")
        await screen.shows("While writing", "Ctrl+F")
        await screen.press("escape")
        await screen.hides("While writing")
        await screen.write("?")
        await screen.hides("While writing")


NAMES = ["שלום עולם", "漢字かな交じり文の長い長い長い名前", "👨‍👩‍👧‍👦 family ❤️", "مرحبا", "ｗｉｄｅ", "e\u0301a\u0300"]


async def test_names_in_any_script_keep_columns_aligned(people: People, pair: Pair) -> None:
    groups = []
    for name in NAMES:
        groups.append((await pair.bob.conversations.create_group(name, [pair.alice_id])).conversation_id)
        await pair.bob.messages.send(groups[-1], f"{name}\n{name * 8}\x1b[31m")
    async with messenger(pair.alice, groups[0]) as screen:
        await screen.shows("Write, Enter sends", "bob")
        for _ in NAMES:
            await screen.press("ctrl+down")
            await screen.pilot.pause()
            assert {cell_len(line) for line in screen.lines} == {80}
            borders = {cell_len(line.partition("│")[0]) for line in screen.lines[:-1]}
            assert borders == {25}, screen.text
            assert "\x1b" not in screen.text


async def test_scrolling_up_loads_older_messages(people: People, pair: Pair) -> None:
    await people.write_history("bob", pair.chat, [f"word {number}." for number in range(120)])
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("word 119.")
        await screen.hides("99+")
        await screen.press("up", "home", "up")
        await screen.shows("word 69.", "word 70.")
        await screen.press("home", "up")
        await screen.shows("word 20.", "word 19.")
        await screen.press("home")
        await screen.shows("word 0.", f"{datetime.now().astimezone():%Y}")

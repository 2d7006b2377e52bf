"""The messenger as a person meets it: keys in, and what is on the screen out."""

from dataclasses import dataclass

import pytest
from rich.cells import cell_len

from parley_client import Client, Superseded
from tests.eventually import eventually
from tests.unit.client.conftest import Cast
from tests.unit.client.stage import Stage, status
from tests.unit.client.terminal_screen import Screen, messenger


@dataclass
class Pair:
    alice: Client
    bob: Client
    chat: str
    bob_id: str


@pytest.fixture
async def pair(cast: Cast) -> Pair:
    alice, bob = await cast.client("alice"), await cast.client("bob")
    await bob.accounts.find("alice")
    bob_id = (await alice.accounts.find("bob")).user_id
    chat = (await alice.conversations.get_or_create_direct(bob_id)).conversation_id
    return Pair(alice, bob, chat, bob_id)


async def said(pair: Pair) -> list[str]:
    entries = [each async for each in pair.bob.messages.before(pair.chat)]
    return [each.message_appended.content.text.body for each in reversed(entries)]


async def choose_newest(screen: Screen, *keys: str) -> None:
    await screen.press("up", *keys)


async def test_two_people_talk_and_see_how_far_it_got(cast: Cast, pair: Pair) -> None:
    await pair.bob.messages.send(pair.chat, "are you there?")
    async with messenger(pair.alice) as screen:
        await screen.shows("  1 bob")
        await screen.press("enter")
        await screen.shows("are you there?", "Write, Enter sends")
        await screen.hides("  1 bob")
        await screen.say("yes I am")
        await screen.shows("✓  yes I am", "✓ sent")
        bobs = await cast.device(pair.bob)
        bobs.mark_read(pair.chat, 3)
        await screen.shows("✓✓ yes I am", "✓✓ read")
        bobs.typing(pair.chat)
        await screen.shows("bob is typing…")
        await bobs.send(pair.chat, "good")
        await screen.shows("good")
        await screen.hides("typing…")
        assert screen.text.count("bob") == 4, f"the list, the title, and who speaks twice:\n{screen.text}"


async def test_the_other_is_told_that_one_types(cast: Cast, stage: Stage, pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.write("hello")
        await eventually(lambda: [each.typing.typing for each in stage.received if each.HasField("typing")] == [True])
        await screen.press("enter")
        await screen.shows("✓  hello")


async def test_keys_that_come_in_a_burst_are_taken_in_their_order(cast: Cast, pair: Pair) -> None:
    await cast.client("carol")
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        screen.burst(
            *"all", "enter", *"one", "ctrl+j", *"tow", "backspace", "left", *"w", "delete", *"o", "enter", *"on"
        )
        await screen.shows("✓  all", "✓  one", "two", "on")
    assert await said(pair) == ["all", "one\ntwo"]


async def test_what_was_written_before_another_conversation_was_opened_stays_out_of_it(cast: Cast, pair: Pair) -> None:
    carol = await cast.client("carol")
    alice_id = (await carol.accounts.find("alice")).user_id
    await carol.conversations.get_or_create_direct(alice_id)
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends", "carol")
        screen.burst(*"for", "enter", *"bob", "ctrl+down", "ctrl+up", *"s")
        await screen.shows("✓  for")
        await screen.shows("bobs")
    assert await said(pair) == ["for"]


async def test_who_leaves_right_after_sending_is_told_that_it_is_not_sent_yet(stage: Stage, pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        stage.mute = True
        screen.burst(*"bye", "enter", "ctrl+q")
        await screen.shows("1 not sent yet. Ctrl+Q again")


async def test_a_message_is_answered_edited_reacted_to_and_deleted(pair: Pair) -> None:
    sent = await pair.bob.messages.send(pair.chat, "shall we meet?")
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("shall we meet?")
        await choose_newest(screen, "r")
        await screen.shows("Answering (Esc: not) bob: shall we meet?")
        await screen.say("at nine")
        await screen.shows("↳ bob: shall we meet?", "at nine")
        await choose_newest(screen, "e")
        await screen.shows("Editing (Esc: not) You: at nine")
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


async def test_the_menu_of_a_message_passes_it_on_and_tells_who_read_it(pair: Pair, cast: Cast) -> None:
    group = await pair.alice.conversations.create_group("Friday", [pair.bob_id])
    async with messenger(pair.alice, group.conversation_id) as screen:
        await screen.shows("Friday  2 members")
        await screen.say("cake at four")
        await screen.shows("✓  cake at four")
        await choose_newest(screen, "i")
        await screen.shows("Who read it", "not yet  bob")
        await screen.press("escape", "enter")
        await screen.shows("Pass on")
        await screen.press("down", "down", "down", "enter")
        await screen.shows("Pass on to")
        await screen.press("down", "enter")
        await screen.shows("Passed on to bob.")
    [entry] = [each async for each in pair.bob.messages.before(pair.chat)]
    assert entry.message_appended.content.forwarded


async def test_groups_are_made_and_changed(cast: Cast, pair: Pair) -> None:
    await cast.client("carol")
    async with messenger(pair.alice) as screen:
        await screen.shows("bob")
        await screen.press("ctrl+g")
        await screen.shows("Make a group")
        await screen.say("Friday")
        await screen.say("bob nobody")
        await screen.shows("There is no user nobody.")
        await screen.press("ctrl+g")
        await screen.say("Friday")
        await screen.say("bob")
        await screen.shows("Friday  2 members")
        await screen.press("ctrl+o", "down", "enter")
        await screen.shows("Add people")
        await screen.say("carol")
        await screen.shows("You added carol", "3 members")
        await screen.press("ctrl+o", "down", "down", "enter", "end")
        await screen.say(" night")
        await screen.shows("You called the group Friday night")
        await screen.press("ctrl+o", "enter")
        await screen.shows("You  (admin)", "carol")
        await screen.press("down", "enter", "enter")
        await screen.shows("You made bob admin")
        await screen.press("ctrl+o", "end", "enter", "enter")
        await screen.shows("You left", "You are not a member any more")


async def test_somebody_new_is_talked_to(cast: Cast, pair: Pair) -> None:
    await cast.client("carol")
    async with messenger(pair.alice) as screen:
        await screen.shows("bob")
        await screen.press("ctrl+n")
        await screen.say("carol")
        await screen.shows("Write, Enter sends")
        await screen.say("hello carol")
        await screen.shows("✓  hello carol")


async def test_search_goes_to_an_old_message(pair: Pair) -> None:
    await pair.bob.messages.send(pair.chat, "the blue door")
    for number in range(70):
        await pair.bob.messages.send(pair.chat, f"and on {number}")
    async with messenger(pair.alice) as screen:
        await screen.shows("bob")
        await screen.press("ctrl+f")
        await screen.say("door blue")
        await screen.shows("1 found", "bob · bob: the blue door")
        await screen.press("enter")
        await screen.shows("the blue door", "and on 3")
        await screen.press("r")
        await screen.shows("Answering (Esc: not) bob: the blue door")


async def test_pinned_ones_come_first_and_archived_ones_are_away(cast: Cast, pair: Pair) -> None:
    carol = await cast.client("carol")
    other = (await carol.conversations.get_or_create_direct(pair.bob_id)).conversation_id
    await carol.messages.send(other, "hi bob")
    async with messenger(pair.bob, pair.chat) as screen:
        await screen.shows("Write, Enter sends", "carol")
        assert screen.text.index("carol") < screen.lines[1].index("alice") + len(screen.lines[0])
        await screen.press("ctrl+o", "enter")
        await eventually(lambda: "alice" in screen.lines[0])
        await pair.bob.conversations.archive(other)
        await screen.hides("carol")
        await screen.press("ctrl+r")
        await screen.shows("carol", "Archived conversations.")
        await screen.press("ctrl+r")
        await screen.hides("carol")


async def test_away_for_a_moment_is_shown_quietly_and_what_was_written_goes_out(stage: Stage, pair: Pair) -> None:
    stage.heartbeat = 0.1
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        stage.mute = True
        await screen.shows("reconnecting…")
        await screen.say("are we back?")
        await screen.shows("…  are we back? (sending)", ", 1 to be sent")
        await screen.press("ctrl+q")
        await screen.shows("1 not sent yet. Ctrl+Q again")
        stage.mute = False
        await screen.shows("✓  are we back?")
        await screen.hides("reconnecting…")


async def test_a_refused_message_says_why_and_goes_again(stage: Stage, pair: Pair) -> None:
    stage.refusals = [status("PERMISSION_DENIED", "BLOCKED")]
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.say("hello")
        await screen.shows("✗  hello", "One of you has blocked the other.", "Enter: send again")
        await choose_newest(screen, "enter")
        await screen.shows("✓  hello")
        await screen.hides("blocked")


async def test_a_newer_messenger_of_the_sign_in_ends_the_older(cast: Cast, pair: Pair) -> None:
    async with messenger(pair.alice) as screen:
        await screen.shows("bob")
        await cast.device(pair.alice)
        await eventually(lambda: isinstance(screen.app.return_value, Superseded))


async def test_a_small_terminal_shows_one_thing_at_a_time(pair: Pair) -> None:
    await pair.bob.messages.send(pair.chat, "hello")
    async with messenger(pair.alice, size=(40, 12)) as screen:
        await screen.shows("  1 bob")
        await screen.press("enter")
        await screen.shows("hello", "Write, Enter sends")
        await screen.hides("›")
        await screen.press("escape")
        await screen.hides("hello")
        await screen.pilot.resize_terminal(80, 24)
        await screen.shows("›", "hello")


async def test_help_is_a_key_away(pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.press("f1")
        await screen.shows("While writing", "Ctrl+F")
        await screen.press("escape")
        await screen.hides("While writing")
        await screen.write("?")
        await screen.hides("While writing")


NAMES = ["שלום עולם", "漢字かな交じり文の長い長い長い名前", "👨‍👩‍👧‍👦 family ❤️", "مرحبا", "ｗｉｄｅ", "e\u0301a\u0300"]


async def test_no_script_moves_a_column(cast: Cast, pair: Pair) -> None:
    alice_id, groups = (await pair.bob.accounts.find("alice")).user_id, []
    for name in NAMES:
        groups.append((await pair.bob.conversations.create_group(name, [alice_id])).conversation_id)
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


async def test_older_messages_come_when_one_goes_up(pair: Pair) -> None:
    sent = [await pair.bob.messages.send(pair.chat, f"word {number}.") for number in range(120)]
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("word 119.")
        await screen.hides("99+")
        await screen.press("up", "home", "up")
        await screen.shows("word 69.", "word 70.")
        await screen.press("home", "up")
        await screen.shows("word 20.", "word 19.")
        await screen.press("home")
        # Above it stands the day.
        await screen.shows("word 0.", str(sent[0].time.astimezone().year))

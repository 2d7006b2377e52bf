"""The messenger shows what happens elsewhere: presence, new messages, mentions, and the state of the link."""

from __future__ import annotations

import time
from datetime import time as clock_time

import pytest
from rich.style import Style
from textual import events

from parley_client import (
    Audience,
    Device,
    NotificationPreferences,
    NotificationScope,
    PresenceChanged,
    PresenceState,
    QuietHours,
    Visibility,
    contents,
)
from parley_client.messenger.message_list import MessageList
from tests.eventually import eventually
from tests.proxy.frame_faults import Filter
from tests.proxy.rpc import Proxy
from tests.scenarios.sdk.people import Pair, People, until
from tests.scenarios.sdk.terminal_screen import Screen, messenger

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

SILENCE = Filter(lambda *_: None)
# A loaded machine may take longer; without probes, a silent link is noticed after 10 s.
NOTICED_AFTER_S = 8.0


async def reactions(pair: Pair) -> dict[str, str]:
    """Return the reactions to each message, by its text."""
    messages = [each async for each in pair.bob.messages.list_before(pair.chat)]
    return {message.text: "".join(message.reactions.values()) for message in messages}


def style_of(screen: Screen, text: str) -> Style:
    """Return the style in which a text of the messages is drawn."""
    for strip in screen.app.screen._compositor.render_strips():
        for segment in strip:
            if segment.text == text and segment.style:
                return segment.style
    raise AssertionError(f"{text!r} has no style of its own:\n{screen.text}")


async def test_peer_is_shown_as_online_away_and_as_last_seen_after_leaving(pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        async with pair.bob.connect() as device:
            # Whoever has written to alice shows her that he is there.
            await device.send(pair.chat, "hello")
            await screen.shows("bob  online", "●")
            device.set_foreground(False)
            await screen.shows("bob  away", "○")
        await screen.shows("bob  last seen")
        await screen.hides("○")


async def test_peer_who_shows_no_presence_is_shown_without_a_line(people: People, pair: Pair) -> None:
    bobs = await people.device(pair.bob)
    async with messenger(pair.alice, pair.chat) as screen:
        await bobs.send(pair.chat, "hello")
        await screen.shows("bob  online", "●")
        await pair.bob.presence.set_visibility(online=Audience.NOBODY)
        await screen.hides("●")
        title = next(line for line in screen.lines if "bob" in line.partition("│")[2])
        assert title.partition("│")[2].strip() == "bob"


async def test_presence_is_not_shown_while_connection_is_lost(proxy: Proxy, people: People, pair: Pair) -> None:
    bobs = await people.device(pair.bob)
    await bobs.send(pair.chat, "hello")
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("bob  online")
        await proxy.stop()
        await screen.hides("online")


async def test_user_is_away_while_the_terminal_has_no_focus(people: People, pair: Pair) -> None:
    bobs = await people.device(pair.bob)
    bobs.watch_presence([pair.alice_id])
    async with messenger(pair.alice, pair.chat) as screen:
        assert await next_state(bobs) is PresenceState.ONLINE
        screen.app.post_message(events.AppBlur())
        assert await next_state(bobs) is PresenceState.BACKGROUND
        screen.app.post_message(events.AppFocus())
        assert await next_state(bobs) is PresenceState.ONLINE


async def next_state(device: Device) -> PresenceState:
    """Return the next state of the watched user; the one before the user connected is skipped."""
    while (state := (await until(device, PresenceChanged)).state) is PresenceState.OFFLINE:
        pass
    return state


async def test_user_chooses_who_sees_the_presence(pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.press("ctrl+p")
        await screen.shows("Online: users you have written to", "Last seen: users you have written to")
        await screen.press("down", "enter")
        await screen.shows("Who sees when you last were online?", "Nobody; then you do not see it of others")
        await screen.press("down", "down", "enter")
        await screen.shows("Users who see when you last were online: nobody.")
    assert await pair.alice.presence.get_visibility() == Visibility(Audience.ACQUAINTED, Audience.NOBODY)


async def test_user_chooses_what_is_pushed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.press("ctrl+s")
        await screen.shows("Messages that notify you: all.", "Quiet hours, without notifications: none.")
        await screen.press("enter")
        await screen.shows("Messages that are pushed")
        await screen.press("down", "enter")
        await screen.hides("Messages that are pushed")
        await screen.shows("Messages that notify you: in groups only those that mention you")
        await screen.press("ctrl+s")
        await screen.shows("Reactions to your messages notify you: yes.")
        await screen.press("down", "down", "down", "enter")
        await screen.shows("Such as 22:00-07:00, or none")
        await screen.press(*["backspace"] * 4)
        await screen.say("22:00-24:00")
        await screen.shows("“22:00-24:00” is not a period such as 22:00-07:00")
        await screen.press("ctrl+s")
        await screen.shows("Reactions to your messages notify you: yes.")
        await screen.press("down", "down", "down", "enter")
        await screen.shows("Such as 22:00-07:00, or none")
        await screen.press(*["backspace"] * 4)
        await screen.say("22:00-7:00")
        await screen.shows("Quiet hours, without notifications: 22:00 to 07:00, Asia/Tokyo.")
    assert await pair.alice.push.get_preferences() == NotificationPreferences(
        NotificationScope.MENTIONS, quiet_hours=QuietHours(clock_time(22), clock_time(7), "Asia/Tokyo")
    )


async def test_new_messages_below_are_counted_and_one_key_goes_there(people: People, pair: Pair) -> None:
    await people.write_history("bob", pair.chat, [f"word {number}." for number in range(40)])
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("word 39.")
        await screen.press("up", "pageup", "pageup")
        await screen.hides("word 39.\n")
        for number in range(3):
            await pair.bob.messages.send(pair.chat, f"news {number}.")
        await screen.shows("↓ 3 new messages below (Ctrl+L: go there)")
        assert (await pair.alice.conversations.get(pair.chat)).unread_count == 3
        await screen.press("ctrl+l")
        await screen.shows("news 2.\n", "news 0.\n")
        await screen.hides("new messages below")
        await screen.write("back")
        await screen.shows("back")


async def test_one_message_below_is_counted_and_stays_unread(people: People, pair: Pair) -> None:
    await people.write_history("bob", pair.chat, [f"word {number}." for number in range(40)])
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("word 39.")
        await screen.press("up")
        await pair.bob.messages.send(pair.chat, "news")
        await screen.shows("↓ 1 new message below")
        assert not screen.app.query_one(MessageList).at_end


async def test_scrolling_down_part_of_the_way_counts_what_is_left(people: People, pair: Pair) -> None:
    await people.write_history("bob", pair.chat, [f"word {number}." for number in range(40)])
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("word 39.")
        await screen.press("up")
        await people.write_history("bob", pair.chat, [f"news {number}." for number in range(40)])
        await screen.shows("↓ 40 new messages below")
        await screen.press("pagedown")
        await screen.shows("news 5.\n")
        await screen.hides("↓ 40 new")
        await screen.shows("new messages below")


async def test_reply_goes_to_selected_message_although_others_arrived(pair: Pair) -> None:
    await pair.bob.messages.send(pair.chat, "shall we meet?")
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("shall we meet?")
        await screen.press("up")
        await pair.bob.messages.send(pair.chat, "or not")
        await pair.bob.messages.send(pair.chat, "never mind")
        await screen.shows("never mind\n")
        await screen.press("r")
        await screen.shows("Replying to (Esc: cancel) bob: shall we meet?")
        await pair.bob.messages.send(pair.chat, "hello?")
        await screen.shows("hello?")
        await screen.say("yes")
        await screen.shows("↳ bob: shall we meet?")


async def test_reaction_goes_to_message_that_was_selected_before_others_arrived(pair: Pair) -> None:
    await pair.bob.messages.send(pair.chat, "first")
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("first")
        await screen.press("up")
        await pair.bob.messages.send(pair.chat, "second")
        await screen.shows("second\n")
        await screen.press("x")
        await screen.shows("React to “bob: first”")
        await pair.bob.messages.send(pair.chat, "third")
        await eventually(lambda: "third" in "".join(row.text for row in screen.app.query_one(MessageList)._rows))
        await screen.press("enter")
        await screen.shows("👍")
    assert await reactions(pair) == {"first": "👍", "second": "", "third": ""}


async def test_keys_that_arrive_in_one_burst_act_on_the_selected_message(pair: Pair) -> None:
    await pair.bob.messages.send(pair.chat, "shall we meet?")
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("shall we meet?")
        screen.burst("up", "r")
        await screen.shows("Replying to (Esc: cancel) bob: shall we meet?")


async def test_selection_stays_on_own_message_once_it_is_sent(proxy: Proxy, pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        proxy.rule = SILENCE
        await screen.say("mine")
        await screen.shows("mine (sending)")
        await screen.press("up")
        proxy.rule = None
        await pair.bob.messages.send(pair.chat, "his")
        await screen.shows("mine\n", "his\n")
        await screen.hides("(sending)")
        await screen.press("e")
        await screen.shows("Editing (Esc: cancel) You: mine")


async def test_list_shows_newest_message_of_each_conversation_and_its_time(people: People, pair: Pair) -> None:
    carol = await people.client("carol")
    group = await carol.conversations.create_group("Friday", [pair.alice_id])
    await carol.messages.send(group.conversation_id, "cake at four")
    first = await pair.bob.messages.send(pair.chat, "are you\nthere?")
    async with messenger(pair.alice, size=(120, 24)) as screen:
        await screen.shows(f"{first.time.astimezone():%H:%M}  are you there?", "carol: cake at")
        await pair.bob.messages.edit(pair.chat, first.seq, "where?")
        await screen.shows("where?")
        second = await pair.bob.messages.send(pair.chat, "oh no")
        await screen.shows("oh no")
        await pair.bob.messages.set_reaction(pair.chat, second.seq, "👍")
        await pair.alice.messages.send(pair.chat, "here")
        await screen.shows("You: here")


async def test_list_shows_new_title_of_group_as_its_newest_item(pair: Pair) -> None:
    group = (await pair.bob.conversations.create_group("Friday", [pair.alice_id])).conversation_id
    await pair.bob.messages.send(group, "cake at four")
    await pair.bob.conversations.rename(group, "Saturday")
    async with messenger(pair.alice, group, size=(120, 24)) as screen:
        await screen.shows("bob renamed the group to S", "Saturday  2 members")
        await screen.shows("cake at four", "bob renamed the group to Saturday")


async def test_list_shows_last_message_that_the_user_has_not_deleted(pair: Pair) -> None:
    await pair.bob.messages.send(pair.chat, "kept")
    sent = await pair.bob.messages.send(pair.chat, "secret")
    await pair.alice.messages.delete(pair.chat, sent.seq, for_all=False)
    async with messenger(pair.alice) as screen:
        await screen.shows("kept")
        assert "secret" not in screen.text


async def test_silent_link_is_shown_within_seconds(proxy: Proxy, pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.hides("connecting")
        proxy.rule = SILENCE
        began = time.monotonic()
        await screen.shows("no answer for ")
        assert time.monotonic() - began < NOTICED_AFTER_S
        proxy.rule = None
        await screen.hides("no answer")


async def test_lost_link_shows_time_until_next_attempt(proxy: Proxy, pair: Pair) -> None:
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.hides("connecting")
        await proxy.stop()
        await screen.shows("reconnecting… next attempt in ", " s")


async def test_mentions_are_highlighted_most_of_all_the_users_own(people: People, pair: Pair) -> None:
    carol = await people.client("carol")
    assert carol.session is not None
    group = await pair.bob.conversations.create_group("Friday", [pair.alice_id, carol.session.user_id])
    names = {"@alice": pair.alice_id, "@carol": carol.session.user_id}
    await pair.bob.messages.send(group.conversation_id, contents.text("می\u200cخواهم @alice and @carol", names))
    async with messenger(pair.alice, group.conversation_id) as screen:
        await screen.shows("@alice and @carol")
        own, other = style_of(screen, "@alice"), style_of(screen, "@carol")
        assert own.bgcolor != other.bgcolor
        assert (own.bold, other.bold) == (True, True)


async def test_message_is_copied_exactly_as_it_was_sent(pair: Pair) -> None:
    text = "two\n  lines ❤️ می\u200cخواهم\ttab"
    await pair.bob.messages.send(pair.chat, text)
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("two")
        await screen.press("up", "c")
        await screen.shows("Copied.")
        assert screen.app.clipboard == text


@pytest.mark.parametrize("size", [(80, 24), (40, 20)], ids=["wide", "narrow"])
async def test_first_screen_says_what_to_do(people: People, size: tuple[int, int]) -> None:
    dora = await people.client("dora")
    async with messenger(dora, size=size) as screen:
        await screen.shows("You have no conversations yet.", "Ctrl+N", "Ctrl+G", people.login_name("dora"))
        await screen.press("ctrl+n")
        await screen.shows("Start a conversation")
        await screen.say(people.login_name("dora"))
        await screen.shows("Nobody was found.")


async def test_user_is_found_by_beginning_of_name_while_typing(people: People, pair: Pair) -> None:
    carol = await people.client("carol")
    name = people.login_name("carol")
    async with messenger(pair.alice) as screen:
        await screen.shows("bob")
        await screen.press("ctrl+n")
        await screen.write(name[:-1])
        await screen.shows("found", f"{name} ")
        await screen.press("down", "enter")
        await screen.shows("Write, Enter sends")
        await screen.say("hello")
        await screen.shows("✓  hello")
    [conversation] = [each async for each in carol.conversations.list()]
    assert conversation.unread_count == 1


async def test_joiners_of_others_are_shown(pair: Pair) -> None:
    words = "می‌خواهم 🏳️‍🌈 👨‍👩‍👧"
    await pair.bob.messages.send(pair.chat, words)
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows(words)

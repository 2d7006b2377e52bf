"""A view folds entries, whatever order and form they come in, to what is true."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from parley.chat.v1.entry_pb2 import Entry, MembershipChanged
from parley_client import CaughtUp, ConversationChecked, ConversationView, EntryReceived, Notice, Tick, contents
from parley_client.events import Settings, TypingChanged, WatermarkMoved
from tests.eventually import eventually
from tests.unit.client.conftest import Cast
from tests.unit.client.stage import Stage

CHAT, ME, YOU, SHE = "c" * 32, "a" * 32, "b" * 32, "d" * 32


def message(seq: int, text: str = "", actor: str = YOU, **state: int) -> Entry:
    said = entry_pb2.MessageAppended(content=contents.text(text) if text else None, **state)  # type: ignore[arg-type]
    return Entry(conversation_id=CHAT, seq=seq, message_number=seq, actor_id=actor, message_appended=said)


def edit(seq: int, target: int, text: str = "") -> Entry:
    edited = entry_pb2.MessageEdited(target_seq=target, content=contents.text(text) if text else None)
    return Entry(conversation_id=CHAT, seq=seq, actor_id=YOU, message_edited=edited)


def deletion(seq: int, target: int) -> Entry:
    return Entry(
        conversation_id=CHAT, seq=seq, actor_id=YOU, message_deleted=entry_pb2.MessageDeleted(target_seq=target)
    )


def reaction(seq: int, target: int, emoji: str, actor: str = YOU) -> Entry:
    changed = entry_pb2.ReactionChanged(target_seq=target, emoji=emoji)
    return Entry(conversation_id=CHAT, seq=seq, actor_id=actor, reaction_changed=changed)


def members(seq: int, kind: MembershipChanged.Kind.ValueType, *users: str, actor: str = YOU) -> Entry:
    named = [entry_pb2.Member(user_id=user, role=entry_pb2.ROLE_MEMBER) for user in users]
    return Entry(
        conversation_id=CHAT, seq=seq, actor_id=actor, membership_changed=MembershipChanged(kind=kind, members=named)
    )


def view_of(*entries: Entry, live: bool = True) -> ConversationView:
    view = ConversationView(CHAT, ME)
    for entry in entries:
        assert view.take(EntryReceived(entry, live))
    return view


def test_an_older_change_never_undoes_a_newer_one() -> None:
    changes = [edit(2, 1, "second"), edit(3, 1, "third"), reaction(4, 1, "👍"), reaction(5, 1, "")]
    for order in permutations([message(1, "first"), *changes]):
        [shown] = view_of(*order).messages
        assert (shown.text, shown.edited, shown.reactions) == ("third", True, {})


def permutations(entries: list[Entry], times: int = 40) -> Iterator[list[Entry]]:
    shuffling = random.Random(7)
    for _ in range(times):
        yield shuffling.sample(entries, len(entries))


def test_a_superseded_edit_says_nothing_and_a_deletion_takes_all() -> None:
    view = view_of(message(1, "newest", edit_seq=3), edit(2, 1))
    assert view.messages[0].text == "newest"
    view.take(EntryReceived(reaction(4, 1, "👍"), True))
    view.take(EntryReceived(deletion(5, 1), True))
    view.take(EntryReceived(edit(2, 1, "late"), True))
    [gone] = view.messages
    assert (gone.content, gone.deleted, gone.edited, gone.reactions) == (None, True, False, {})


def test_a_change_may_come_before_the_history_it_concerns() -> None:
    view = view_of(reaction(9, 3, "❤"), edit(10, 3, "new"))
    assert view.lines == []
    view.read([message(3, "old"), message(2, "older")])
    assert [each.text for each in view.messages] == ["older", "new"]
    assert view.message(3) is view.messages[1]
    assert view.message(4) is None


def test_members_and_titles_are_those_of_the_newest_entry() -> None:
    view = ConversationView(CHAT, ME)
    told = conversation_pb2.Conversation(conversation_id=CHAT, title="new", head_seq=7, unread_count=2)
    for user in (ME, YOU):
        told.members.add(user_id=user, role=entry_pb2.ROLE_MEMBER)
    view.told(told)
    renamed = entry_pb2.ConversationUpdated(title="old")
    view.take(EntryReceived(Entry(conversation_id=CHAT, seq=3, conversation_updated=renamed), False))
    assert (view.title, view.others, view.unread_count) == ("new", [YOU], 2)
    view.take(EntryReceived(members(8, MembershipChanged.KIND_ADDED, SHE), True))
    view.take(EntryReceived(members(9, MembershipChanged.KIND_LEFT, YOU, SHE), True))
    assert view.others == [SHE]
    view.take(EntryReceived(members(10, MembershipChanged.KIND_REMOVED, ME, actor=SHE), True))
    assert view.former
    assert [type(line) for line in view.lines] == [Notice] * 4
    view.take(EntryReceived(members(20, MembershipChanged.KIND_ADDED, ME, actor=SHE), False))
    assert not view.former


def test_ticks_unread_counts_settings_and_typing() -> None:
    view = view_of(members(1, MembershipChanged.KIND_CREATED, ME, YOU, SHE), message(2, "mine", ME))
    mine = view.messages[0]
    assert view.tick(mine) is Tick.SENT
    view.take(WatermarkMoved(CHAT, YOU, 2, 2))
    view.take(WatermarkMoved(CHAT, SHE, 2, 0))
    assert view.tick(mine) is Tick.DELIVERED
    view.take(WatermarkMoved(CHAT, SHE, 2, 2))
    assert view.tick(mine) is Tick.READ
    view.take(EntryReceived(message(3, "yours"), True))
    view.take(EntryReceived(message(4, "yours"), True))
    assert view.unread_count == 2
    view.take(WatermarkMoved(CHAT, ME, 3, 3))
    assert view.unread_count == 1
    view.take(TypingChanged(CHAT, YOU, True))
    view.take(ConversationChecked(CHAT, 4, 3, 1, Settings(pinned=True), frozenset({4})))
    assert (view.typing, view.settings.pinned, [each.seq for each in view.messages]) == ({YOU}, True, [2, 3])
    assert view.messages[0].content is None, "its retention has ended"
    assert not view.take(CaughtUp(False))


async def test_a_device_that_was_away_ends_with_the_same_lines(cast: Cast, stage: Stage) -> None:
    alice, bob = await cast.client("alice"), await cast.client("bob")
    peer = (await alice.accounts.find("bob")).user_id
    chat = (await alice.conversations.get_or_create_direct(peer)).conversation_id
    there = await cast.device(alice)
    present = ConversationView(chat, there.user_id)
    sent = [await bob.messages.send(chat, f"word {n}") for n in range(6)]
    await bob.messages.edit(chat, sent[0].seq, "edited")
    await bob.messages.edit(chat, sent[0].seq, "edited twice")
    await alice.messages.set_reaction(chat, sent[1].seq, "👍")
    await bob.messages.set_reaction(chat, sent[1].seq, "❤")
    await alice.messages.set_reaction(chat, sent[1].seq, "")
    assert await bob.messages.delete(chat, sent[2].seq, for_all=True)
    assert await alice.messages.delete(chat, sent[3].seq, for_all=False) is None
    head = len(stage.logs[chat].entries)
    late = await cast.device(await cast.client("alice"))
    absent = ConversationView(chat, late.user_id)
    for device, view in ((there, present), (late, absent)):
        async for event in device:
            view.take(event)
            if isinstance(event, ConversationChecked) and event.hidden_seqs and view.head_seq == head:
                break
    assert present.lines == absent.lines
    assert [each.text for each in present.messages] == ["edited twice", "word 1", "", "word 4", "word 5"]


async def test_a_former_member_keeps_what_was_seen_and_a_jump_in_what_is_fetched_is_taken(cast: Cast) -> None:
    alice, bob = await cast.client("alice"), await cast.client("bob")
    her = (await alice.accounts.find("bob")).user_id
    group = (await alice.conversations.create_group("Friday", [her])).conversation_id
    device = await cast.device(bob)
    view = ConversationView(group, device.user_id)
    await alice.messages.send(group, "one")
    await alice.conversations.remove_member(group, her)
    await alice.messages.send(group, "behind his back")

    async def is_former_at(seq: int) -> bool:
        async for event in device:
            if view.take(event) and device.last_seq(group) >= seq and view.head_seq >= seq:
                break
        return view.former

    assert await is_former_at(3)
    await alice.conversations.add_members(group, [her])
    await alice.messages.send(group, "welcome back")
    assert not await is_former_at(6)
    assert [each.text for each in view.messages] == ["one", "welcome back"]
    assert [line.seq for line in view.lines] == [1, 2, 3, 5, 6]


async def test_settings_are_told_to_the_other_devices(cast: Cast, stage: Stage) -> None:
    alice = await cast.client("alice")
    await cast.client("bob")
    peer = (await alice.accounts.find("bob")).user_id
    chat = (await alice.conversations.get_or_create_direct(peer)).conversation_id
    device = await cast.device(await cast.client("alice"))
    view = ConversationView(chat, device.user_id)
    until = datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    await alice.conversations.pin(chat)
    await alice.conversations.archive(chat)
    await alice.conversations.mute(chat, until)
    async for event in device:
        view.take(event)
        if view.settings.mute_until:
            break
    assert view.settings == Settings(until, True, True)
    await alice.conversations.mute(chat, None)
    await eventually(lambda: not stage.logs[chat].settings[device.user_id].HasField("mute_until_time"))


def test_mentions_are_marked_by_code_points() -> None:
    said = contents.text("😀 @bob and @bobby", {"@bob": YOU, "@bobby": SHE})
    assert [(each.user_id, each.offset, each.length) for each in said.text.mentions] == [(YOU, 2, 4), (SHE, 11, 6)]
    passed = contents.forwarded(contents.reply(said, 5))
    assert (passed.forwarded, passed.reply_to_seq, len(passed.text.mentions)) == (True, 0, 0)
    assert contents.as_content("words", 3).reply_to_seq == 3


@pytest.mark.parametrize(
    "content",
    [
        contents.location(48.2, 16.37, "Wien"),
        contents.contact("Bob", user_id=YOU, vcard="BEGIN:VCARD"),
        contents.custom("application/x-poll", b"\0\1"),
    ],
    ids=["location", "contact", "custom"],
)
async def test_other_contents_arrive_as_they_were_sent(cast: Cast, content: entry_pb2.Content) -> None:
    alice = await cast.client("alice")
    await cast.client("bob")
    peer = (await alice.accounts.find("bob")).user_id
    chat = (await alice.conversations.get_or_create_direct(peer)).conversation_id
    sent = await alice.messages.send(chat, content, reply_to_seq=1)
    answer = await alice.messages.entries([chat_pb2.EntryRange(conversation_id=chat, after_seq=sent.seq - 1)])
    assert answer.entries[0].message_appended.content == contents.reply(content, 1)

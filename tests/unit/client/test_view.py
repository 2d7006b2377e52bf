"""A view folds entries in any order and form into the current state of a conversation."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.chat.v1 import conversation_pb2, entry_pb2
from parley.chat.v1.entry_pb2 import Entry, MembershipChanged
from parley_client import (
    CaughtUp,
    ConversationChecked,
    ConversationView,
    DeliveryStatus,
    EntryReceived,
    Notice,
    NoticeKind,
    contents,
)
from parley_client.events import PersonalSettings, TypingChanged, WatermarkMoved

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
        assert view.apply(EntryReceived(entry, live))
    return view


def test_older_change_never_undoes_a_newer_one() -> None:
    changes = [edit(2, 1, "second"), edit(3, 1, "third"), reaction(4, 1, "👍"), reaction(5, 1, "")]
    for order in permutations([message(1, "first"), *changes]):
        [shown] = view_of(*order).messages
        assert (shown.text, shown.edited, shown.reactions) == ("third", True, {})


def permutations(entries: list[Entry], times: int = 40) -> Iterator[list[Entry]]:
    shuffling = random.Random(7)
    for _ in range(times):
        yield shuffling.sample(entries, len(entries))


def test_superseded_edit_is_ignored_and_deletion_clears_message() -> None:
    view = view_of(message(1, "newest", edit_seq=3), edit(2, 1))
    assert view.messages[0].text == "newest"
    view.apply(EntryReceived(reaction(4, 1, "👍"), True))
    view.apply(EntryReceived(deletion(5, 1), True))
    view.apply(EntryReceived(edit(2, 1, "late"), True))
    [gone] = view.messages
    assert (gone.content, gone.deleted, gone.edited, gone.reactions) == (None, True, False, {})


def test_change_is_applied_when_its_message_is_loaded_later() -> None:
    view = view_of(reaction(9, 3, "❤"), edit(10, 3, "new"))
    assert view.timeline == []
    view.apply_entries([message(3, "old"), message(2, "older")])
    assert [each.text for each in view.messages] == ["older", "new"]
    assert view.message(3) is view.messages[1]
    assert view.message(4) is None


def test_notice_says_what_changed() -> None:
    renamed = Entry(conversation_id=CHAT, seq=3, conversation_updated=entry_pb2.ConversationUpdated(title="new"))
    view = view_of(
        members(1, MembershipChanged.KIND_CREATED, ME, YOU), members(2, MembershipChanged.KIND_ADDED, SHE), renamed
    )
    told = [(each.kind, each.user_ids, each.title) for each in view.timeline if isinstance(each, Notice)]
    assert told == [
        (NoticeKind.CREATED, [ME, YOU], None),
        (NoticeKind.ADDED, [SHE], None),
        (NoticeKind.UPDATED, [], "new"),
    ]


def test_every_kind_of_membership_change_has_a_notice() -> None:
    for name, kind in MembershipChanged.Kind.items():
        [notice] = view_of(members(1, kind, YOU)).timeline
        assert isinstance(notice, Notice)
        assert notice.kind.name == (name.removeprefix("KIND_") if kind else "UPDATED")


def test_members_and_title_follow_the_newest_entry() -> None:
    view = ConversationView(CHAT, ME)
    told = conversation_pb2.Conversation(conversation_id=CHAT, title="new", head_seq=7, unread_count=2)
    for user in (ME, YOU):
        told.members.add(user_id=user, role=entry_pb2.ROLE_MEMBER)
    view.apply_conversation(told)
    renamed = entry_pb2.ConversationUpdated(title="old")
    view.apply(EntryReceived(Entry(conversation_id=CHAT, seq=3, conversation_updated=renamed), False))
    assert (view.title, view.other_members, view.unread_count) == ("new", [YOU], 2)
    view.apply(EntryReceived(members(8, MembershipChanged.KIND_ADDED, SHE), True))
    view.apply(EntryReceived(members(9, MembershipChanged.KIND_LEFT, YOU, SHE), True))
    assert view.other_members == [SHE]
    view.apply(EntryReceived(members(10, MembershipChanged.KIND_REMOVED, ME, actor=SHE), True))
    assert view.is_former_member
    assert [type(line) for line in view.timeline] == [Notice] * 4
    view.apply(EntryReceived(members(20, MembershipChanged.KIND_ADDED, ME, actor=SHE), False))
    assert not view.is_former_member


def test_ticks_unread_count_settings_and_typing_are_tracked() -> None:
    view = view_of(members(1, MembershipChanged.KIND_CREATED, ME, YOU, SHE), message(2, "mine", ME))
    mine = view.messages[0]
    assert view.delivery_status(mine) is DeliveryStatus.SENT
    view.apply(WatermarkMoved(CHAT, YOU, 2, 2))
    view.apply(WatermarkMoved(CHAT, SHE, 2, 0))
    assert view.delivery_status(mine) is DeliveryStatus.DELIVERED
    view.apply(WatermarkMoved(CHAT, SHE, 2, 2))
    assert view.delivery_status(mine) is DeliveryStatus.READ
    view.apply(EntryReceived(message(3, "yours"), True))
    view.apply(EntryReceived(message(4, "yours"), True))
    assert view.unread_count == 2
    view.apply(WatermarkMoved(CHAT, ME, 3, 3))
    assert view.unread_count == 1
    view.apply(TypingChanged(CHAT, YOU, True))
    view.apply(ConversationChecked(CHAT, 4, 3, 1, PersonalSettings(pinned=True), frozenset({4}), 3))
    assert (view.typing, view.settings.pinned, [each.seq for each in view.messages]) == ({YOU}, True, [2, 3])
    assert view.messages[0].content is None, "its content was removed by retention"
    assert not view.apply(CaughtUp(False))


def test_own_message_leaves_nothing_unread_whatever_the_server_counted() -> None:
    view = view_of(members(1, MembershipChanged.KIND_CREATED, ME, YOU), message(2, "mine", ME), message(3, "mine", ME))
    view.apply(ConversationChecked(CHAT, 3, 1, 2))
    assert view.unread_count == 0
    view.apply(EntryReceived(message(4, "yours"), True))
    view.apply(ConversationChecked(CHAT, 4, 1, 3))
    assert view.unread_count == 1
    view.apply(EntryReceived(message(5, "mine", ME), True))
    assert view.unread_count == 0


def test_count_of_the_server_is_kept_where_entries_are_unknown() -> None:
    view = view_of(message(9, "yours"))
    view.apply(ConversationChecked(CHAT, 9, 1, 7))
    assert view.unread_count == 7, "the last read entry is unknown"
    view.apply(WatermarkMoved(CHAT, ME, 4, 4))
    view.apply_entries([message(4, "yours")])
    view.apply(ConversationChecked(CHAT, 9, 7, 3, expired_seq=7))
    assert view.unread_count == 3, "retention has removed unread messages"


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), max_size=12))
def test_unread_count_is_that_of_the_log(steps: list[tuple[bool, bool, int]]) -> None:
    """Each step is a message of the user or of another, live or fetched, and a stale count of the server after it."""
    view, seq, read = view_of(members(1, MembershipChanged.KIND_CREATED, ME, YOU)), 1, 1
    view.apply(WatermarkMoved(CHAT, ME, 1, 1))
    for own, live, stale in steps:
        seq += 1
        said = message(seq, "text", ME if own else YOU)
        # The first entry is no message.
        said.message_number = seq - 1
        view.apply(EntryReceived(said, live))
        read = seq if own else read
        view.apply(ConversationChecked(CHAT, seq, 1, stale))
        assert view.unread_count == seq - read


def test_mentions_are_measured_in_code_points() -> None:
    said = contents.text("😀 @bob and @bobby", {"@bob": YOU, "@bobby": SHE})
    assert [(each.user_id, each.offset, each.length) for each in said.text.mentions] == [(YOU, 2, 4), (SHE, 11, 6)]
    passed = contents.forwarded(contents.reply(said, 5))
    assert (passed.forwarded, passed.reply_to_seq, len(passed.text.mentions)) == (True, 0, 0)
    assert contents.as_content("words", 3).reply_to_seq == 3


@pytest.mark.parametrize(
    ("body", "name", "offsets"),
    [
        ("@bob", "@bob", [0]),
        ("hi @bob, and (@bob)!", "@bob", [3, 14]),
        ("@bob's hat", "@bob", [0]),
        ("ask @bob.", "@bob", [4]),
        ("@bob-", "@bob", [0]),
        ("hi @bobby", "@bob", []),
        ("hi @bob_2 @bob2", "@bob", []),
        ("@bob-cat @bob.smith", "@bob", []),
        ("carol@bob.example", "@bob", []),
        ("carol@bob", "@bob", []),
        ("Zoë@bob", "@bob", []),
        ("@bobе", "@bob", []),
        ("@jose\u0301", "@jose", []),
        ("@José y @Josefa", "@José", [0]),
        ("your friend Bob Smith said", "Bob Smith", [12]),
        ("Bob Smithson", "Bob Smith", []),
        ("你好@小明你好", "@小明", [2]),
        ("你好@bob你好", "@bob", [2]),
        ("@철수님", "@철수", [0]),
        ("@bob@bob", "@bob", [0]),
        ("@🦄!", "@🦄", [0]),
        ("a+b @a+b", "@a+b", [4]),
    ],
)
def test_mention_is_marked_only_where_it_is_a_whole_name(body: str, name: str, offsets: list[int]) -> None:
    assert [each.offset for each in contents.text(body, {name: YOU}).text.mentions] == offsets

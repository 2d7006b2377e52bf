"""The judge of pushes finds each kind of violation in a small story, and none in the correct story."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.faults.journal import Line, Send, Struck
from tests.faults.nemesis import ALL_KINDS
from tests.faults.push.journal import NOTIFICATION, WITHDRAWAL, Pushed, PushJournal, ReadUpTo, Visit
from tests.faults.push.judge import (
    LOSSES,
    broken_push_promises,
    last_arrival,
    missing_pushes,
    promised_pushes,
)
from tests.faults.push.record import PushRecord

WRITER, BOB, CAROL = "writer", "bob", "carol"
GROUP, DIRECT = "a group", "a direct conversation"
PHONE, TABLET, CAROLS = "bob's phone", "bob's tablet", "carol's phone"


@dataclass
class Story:
    """A writer sends to bob, who never comes, alone at 10 and at 20, and to him and carol at 30 and at 40."""

    journal: PushJournal = field(default_factory=PushJournal)
    struck: list[Struck] = field(default_factory=list)
    logs: dict[str, list[Line]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.journal.chat.users["writer's"] = WRITER
        self.journal.names = {WRITER: "Will", BOB: "Bob", CAROL: "Carol"}
        self.journal.titles = {GROUP: "Friday"}
        self.journal.tokens = {PHONE: BOB, TABLET: BOB, CAROLS: CAROL}
        self.logs = {
            DIRECT: [Line(1, WRITER, None, ((WRITER, True), (BOB, True)))],
            GROUP: [Line(1, WRITER, None, ((WRITER, True), (BOB, True), (CAROL, True)))],
        }
        for conversation, at in ((DIRECT, 10.0), (DIRECT, 20.0), (GROUP, 30.0), (GROUP, 40.0)):
            self.send(conversation, at)

    def send(self, conversation: str, at: float) -> None:
        """Let the writer send, and push it to everyone else."""
        seq, text = len(self.logs[conversation]) + 1, f"sent at {at:.0f}"
        self.logs[conversation].append(Line(seq, WRITER, text))
        self.journal.chat.sends.append(Send("writer's", seq, conversation, text, at, {seq}, at + 0.1))
        for token in (PHONE, TABLET, CAROLS) if conversation == GROUP else (PHONE, TABLET):
            title, body = ("Friday", f"Will: {text}") if conversation == GROUP else ("Will", text)
            pushed = Pushed(token, NOTIFICATION, conversation, seq, conversation, title, body, at + 0.2)
            self.journal.pushed.append(pushed)

    def lose(self, conversation: str, seq: int, token: str = PHONE) -> None:
        """Take back a push."""
        self.journal.pushed.remove(self.push(conversation, seq, token))

    def push(self, conversation: str, seq: int, token: str = PHONE) -> Pushed:
        """Return a push."""
        [found] = [
            each
            for each in self.journal.pushed
            if (each.conversation, each.seq, each.token, each.kind) == (conversation, seq, token, NOTIFICATION)
        ]
        return found

    def strike(self, name: str, at: float, seconds: float = 3.0) -> None:
        self.struck.append(Struck(name, at, at + seconds, 1))

    def withdraw(self, conversation: str, seq: int, at: float, token: str = PHONE) -> None:
        self.journal.pushed.append(Pushed(token, WITHDRAWAL, conversation, seq, conversation, "", "", at))

    def broken(self) -> set[str]:
        return {each.promise for each in broken_push_promises(self.journal, self.logs, self.struck)}


def test_correct_story_breaks_no_promise() -> None:
    story = Story()
    assert story.broken() == set()
    assert len(promised_pushes(story.journal, story.logs, story.struck)) == 2 * 2 + 2 * 3


# To whom.


def test_push_to_a_user_outside_of_the_conversation_is_found() -> None:
    story = Story()
    story.journal.pushed.append(replace(story.push(DIRECT, 2), token=CAROLS))
    assert story.broken() == {"P12 to whom"}


def test_push_to_an_unknown_token_is_found() -> None:
    story = Story()
    story.journal.pushed.append(replace(story.push(DIRECT, 2), token="somebody's"))
    assert story.broken() == {"P12 to whom"}


def test_push_of_an_unknown_conversation_is_found() -> None:
    story = Story()
    story.journal.pushed.append(replace(story.push(DIRECT, 2), conversation="another", collapse_id="another"))
    assert story.broken() == {"P12 to whom", "P12 content"}


def test_push_to_the_author_is_found() -> None:
    story = Story()
    story.journal.tokens["writer's phone"] = WRITER
    # Writers are there all the time.
    story.journal.visits.append(Visit(WRITER, float("-inf")))
    assert story.broken() == set()
    story.journal.pushed.append(replace(story.push(GROUP, 2), token="writer's phone"))
    assert story.broken() == {"P12 to whom"}


def test_push_of_what_was_written_after_a_user_left_is_found() -> None:
    story = Story()
    story.logs[GROUP][2:] = [Line(3, WRITER, None, ((CAROL, False),)), replace(story.logs[GROUP][2], seq=4)]
    story.journal.chat.sends[-1].seqs = {4}
    story.journal.pushed = [
        replace(each, seq=4) if (each.conversation, each.seq) == (GROUP, 3) else each for each in story.journal.pushed
    ]
    assert story.broken() == {"P12 to whom"}
    story.lose(GROUP, 4, CAROLS)
    assert story.broken() == set()


def test_push_to_a_user_who_has_muted_is_found() -> None:
    story = Story()
    story.journal.muted.add((CAROL, GROUP))
    assert story.broken() == {"P12 to whom"}
    for seq in (2, 3):
        story.lose(GROUP, seq, CAROLS)
    assert story.broken() == set()


# With what.


@pytest.mark.parametrize("wrong", [{"title": "Bob"}, {"body": "sent at 20"}, {"seq": 3}, {"seq": 9}])
def test_push_with_the_content_of_another_entry_is_found(wrong: dict[str, object]) -> None:
    story = Story()
    story.journal.pushed.append(replace(story.push(DIRECT, 2), at=50.0, **wrong))  # type: ignore[arg-type]
    assert "P12 content" in story.broken()


def test_user_is_told_of_being_added() -> None:
    story = Story()
    added = Pushed(CAROLS, NOTIFICATION, GROUP, 1, GROUP, "Friday", "Will added you to the group", 5.0)
    story.journal.pushed.append(added)
    assert story.broken() == set()
    story.journal.pushed.append(replace(added, body="Bob added you to the group"))
    assert story.broken() == {"P12 content", "P12 once"}


def test_other_members_are_not_told_of_a_new_one() -> None:
    story = Story()
    story.logs[GROUP].append(Line(4, WRITER, None, ((CAROL, False),)))
    story.logs[GROUP].append(Line(5, WRITER, None, ((CAROL, True),)))
    story.journal.pushed.append(Pushed(CAROLS, NOTIFICATION, GROUP, 5, GROUP, "Friday", "Will added you", 45.0))
    assert story.broken() == set()
    story.journal.pushed.append(Pushed(PHONE, NOTIFICATION, GROUP, 5, GROUP, "Friday", "Will added you", 45.0))
    assert story.broken() == {"P12 content"}


def test_who_mutes_is_told_of_being_added() -> None:
    story = Story()
    story.journal.muted.add((CAROL, GROUP))
    for seq in (2, 3):
        story.lose(GROUP, seq, CAROLS)
    story.journal.pushed.append(Pushed(CAROLS, NOTIFICATION, GROUP, 1, GROUP, "Friday", "Will added you", 5.0))
    assert story.broken() == set()


def test_withdrawal_of_what_was_not_read_is_found() -> None:
    story = Story()
    story.withdraw(DIRECT, 3, 50.0)
    assert story.broken() == {"P12 withdrawn"}
    story.journal.reads.append(ReadUpTo(BOB, DIRECT, 2, 49.0))
    assert story.broken() == {"P12 withdrawn"}
    story.journal.reads.append(ReadUpTo(BOB, DIRECT, 3, 51.0))
    assert story.broken() == {"P12 withdrawn"}
    story.journal.reads.append(ReadUpTo(BOB, DIRECT, 3, 49.9))
    assert story.broken() == set()


def test_who_writes_has_read_what_came_before() -> None:
    story = Story()
    story.journal.chat.users["carol's"] = CAROL
    story.withdraw(GROUP, 3, 50.0, CAROLS)
    assert story.broken() == {"P12 withdrawn"}
    story.logs[GROUP].append(Line(4, CAROL, "an answer"))
    story.journal.chat.sends.append(Send("carol's", 1, GROUP, "an answer", 51.0, {4}, 51.1))
    assert "P12 withdrawn" in story.broken()
    story.journal.chat.sends[-1] = replace(story.journal.chat.sends[-1], at=49.0)
    assert "P12 withdrawn" not in story.broken()


def test_who_was_removed_may_be_told_to_withdraw() -> None:
    story = Story()
    story.logs[GROUP] += [Line(4, WRITER, None, ((CAROL, False),)), Line(5, WRITER, None)]
    story.withdraw(GROUP, 3, 50.0, CAROLS)
    assert story.broken() == set()
    story.withdraw(DIRECT, 3, 50.0, CAROLS)
    assert story.broken() == {"P12 to whom"}


# What must arrive.


def test_lost_push_is_found_for_each_token() -> None:
    for token in (PHONE, TABLET):
        story = Story()
        story.lose(DIRECT, 3, token)
        assert story.broken() == {"P12 arrived"}


def test_later_push_of_the_conversation_covers_an_earlier_one() -> None:
    story = Story()
    story.lose(DIRECT, 2)
    assert story.broken() == set()
    story.lose(DIRECT, 3)
    assert story.broken() == {"P12 arrived"}


def test_later_push_that_comes_too_late_covers_nothing() -> None:
    story = Story()
    story.send(DIRECT, 70.0)
    story.lose(DIRECT, 3)
    assert story.broken() == set()
    story.journal.pushed[:] = [
        replace(each, at=81.0) if (each.conversation, each.seq) == (DIRECT, 4) else each
        for each in story.journal.pushed
    ]
    assert story.broken() == {"P12 arrived"}
    story.strike("all notify servers killed", 25.0)
    assert story.broken() == set(), "a fault delays what is due"


def test_older_push_that_overtakes_none_breaks_nothing() -> None:
    story = Story()
    story.journal.pushed[:] = [
        replace(each, at=95.0) if (each.conversation, each.seq) == (DIRECT, 2) else each
        for each in story.journal.pushed
    ]
    assert story.broken() == set()


def test_withdrawal_covers_nothing() -> None:
    story = Story()
    story.lose(DIRECT, 3)
    story.withdraw(DIRECT, 3, 50.0)
    assert "P12 arrived" in story.broken()


def test_nothing_is_promised_of_a_send_that_was_not_acknowledged() -> None:
    story = Story()
    story.lose(DIRECT, 3)
    story.journal.chat.sends[1].seqs = set()
    assert story.broken() == set()


def test_nothing_is_promised_to_the_author() -> None:
    story = Story()
    story.journal.tokens["writer's phone"] = WRITER
    assert story.broken() == set()


def test_nothing_is_promised_to_who_left_meanwhile() -> None:
    story = Story()
    story.lose(GROUP, 3, CAROLS)
    assert story.broken() == {"P12 arrived"}
    story.logs[GROUP] += [Line(4, WRITER, None, ((CAROL, False),)), Line(5, WRITER, None)]
    assert story.broken() == set()
    story.logs[GROUP].append(Line(6, WRITER, None, ((CAROL, True),)))
    assert story.broken() == set()


def test_nothing_is_promised_to_who_was_in_the_foreground() -> None:
    for since, until in ((15.0, 25.0), (0.0, 19.0), (29.0, 60.0), (0.0, float("inf"))):
        story = Story()
        story.lose(DIRECT, 3)
        story.journal.visits.append(Visit(BOB, since, until))
        assert story.broken() == set(), f"from {since} to {until}"


def test_visits_long_before_and_after_excuse_nothing() -> None:
    story = Story()
    story.lose(DIRECT, 3)
    story.journal.visits += [Visit(BOB, 0.0, 17.0), Visit(BOB, 31.0, 60.0), Visit(CAROL, 0.0, 60.0)]
    assert story.broken() == {"P12 arrived"}


@pytest.mark.parametrize("at", [9.0, 14.0, 18.0])
def test_fault_delays_what_a_home_knows_of_a_visit(at: float) -> None:
    story = Story()
    story.lose(DIRECT, 3)
    story.journal.visits.append(Visit(BOB, 0.0, 17.0))
    story.strike("presence server killed", at)
    is_delayed = at > 10.0
    assert story.broken() == (set() if is_delayed else {"P12 arrived"})


def test_fault_delays_a_push_beyond_the_return_of_its_user() -> None:
    story = Story()
    story.lose(DIRECT, 3)
    story.journal.visits.append(Visit(BOB, 35.0, 60.0))
    assert story.broken() == {"P12 arrived"}
    story.strike("notify server frozen", 22.0, 8.0)
    assert story.broken() == set()


def test_read_entry_is_not_promised() -> None:
    story = Story()
    story.lose(DIRECT, 3)
    story.journal.reads.append(ReadUpTo(BOB, DIRECT, 2, 60.0))
    assert story.broken() == {"P12 arrived"}
    story.journal.reads += [ReadUpTo(BOB, DIRECT, 3, 120.0), ReadUpTo(CAROL, DIRECT, 3, 21.0)]
    assert story.broken() == {"P12 arrived"}, "read too late, and by another user"
    story.journal.reads.append(ReadUpTo(BOB, DIRECT, 3, 60.0))
    assert story.broken() == set()


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_in_redis_excuses_what_may_have_been_queued(loss: str) -> None:
    for at, is_excused in ((16.0, False), (18.0, True), (39.0, True), (42.0, False)):
        story = Story()
        story.lose(DIRECT, 3)
        story.strike(loss, at)
        assert story.broken() == (set() if is_excused else {"P12 arrived"}), f"struck at {at}"


def test_what_waited_for_a_notify_server_may_be_lost_later() -> None:
    story = Story()
    story.lose(DIRECT, 3)
    story.strike("all notify servers killed", 19.0, 20.0)
    assert story.broken() == {"P12 arrived"}
    story.strike("Valkey flushed", 55.0)
    assert story.broken() == set()


def test_what_is_queued_and_waits_for_a_notify_server_may_be_lost_later() -> None:
    story = Story()
    story.lose(DIRECT, 3)
    story.strike("notify server frozen", 31.0, 15.0)
    story.strike("Valkey flushed", 50.0)
    assert story.broken() == set()


@pytest.mark.parametrize("fault", ["notify server killed", "chat server killed", "Valkey frozen", "Envoy killed"])
def test_other_faults_excuse_no_loss(fault: str) -> None:
    story = Story()
    story.lose(DIRECT, 3)
    story.strike(fault, 19.0)
    assert story.broken() == {"P12 arrived"}


def test_kinds_that_excuse_losses_exist() -> None:
    assert set(LOSSES) <= {kind.name for kind in ALL_KINDS}


# How often.


def test_push_that_replaces_no_other_one_is_found() -> None:
    story = Story()
    story.journal.pushed[0] = replace(story.journal.pushed[0], collapse_id="another")
    assert story.broken() == {"P12 collapsed"}


def test_change_of_the_number_on_the_icon_replaces_no_notification() -> None:
    story = Story()
    story.journal.reads.append(ReadUpTo(BOB, DIRECT, 2, 25.0))
    story.journal.pushed.append(Pushed(PHONE, WITHDRAWAL, DIRECT, 2, "badge", "", "", 26.0))
    assert story.broken() == set()
    story.journal.pushed.append(replace(story.push(DIRECT, 3), collapse_id="badge"))
    assert "P12 collapsed" in story.broken()


def test_fault_long_ago_or_later_explains_no_repeat() -> None:
    story = Story()
    story.strike("presence server killed", -60.0)
    story.journal.pushed.append(replace(story.push(DIRECT, 3), at=85.0))
    story.strike("notify server killed", 95.0)
    assert story.broken() == {"P12 once"}


def test_repeat_without_a_fault_is_found() -> None:
    story = Story()
    story.journal.pushed.append(replace(story.push(DIRECT, 3), at=50.0))
    assert story.broken() == {"P12 once"}
    story.strike("notify server killed", 30.0)
    assert story.broken() == set()


def test_last_arrival_is_that_of_the_first_push_that_keeps_the_promise() -> None:
    story = Story()
    promises = promised_pushes(story.journal, story.logs, story.struck)
    assert missing_pushes(story.journal, promises) == []
    assert last_arrival(story.journal, promises) == 40.2
    story.journal.pushed.append(replace(story.push(GROUP, 3), at=90.0))
    assert last_arrival(story.journal, promises) == 40.2
    assert last_arrival(PushJournal(), promises) == float("-inf")
    assert len(missing_pushes(PushJournal(), promises)) == len(promises)


def test_record_is_read_while_it_grows(tmp_path: Path) -> None:
    record, path = PushRecord(tmp_path / "pushes"), tmp_path / "pushes"
    assert record.read_new() == []
    fields = {"token": PHONE, "kind": "read", "conversation_id": DIRECT, "seq": 2, "collapse_id": DIRECT, "time_ms": 0}
    line = json.dumps(fields).encode()
    path.write_bytes(line + b"\n" + line[:20])
    assert [each.seq for each in record.read_new()] == [2]
    assert record.read_new() == []
    with path.open("ab") as file:
        file.write(line[20:] + b"\n")
    assert [each.token for each in record.read_new()] == [PHONE]

"""The judge finds each kind of violation in a small story, and none in the correct story."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.faults.journal import Given, Journal, Line, Resumed, Revoked, Send, Struck
from tests.faults.judge import broken_promises

ALICE, BOB, GUEST, ROOM = "alice", "bob", "guest", "r" * 32


@dataclass
class Story:
    """Alice and bob send to a room; a guest is added at seq 3 and removed at seq 5."""

    log: list[Line] = field(
        default_factory=lambda: [
            Line(1, ALICE, None, ((ALICE, True), (BOB, True))),
            Line(2, ALICE, "one"),
            Line(3, ALICE, None, ((GUEST, True),)),
            Line(4, GUEST, "two"),
            Line(5, ALICE, None, ((GUEST, False),)),
            Line(6, BOB, "three"),
            Line(7, ALICE, "four"),
        ]
    )
    journal: Journal = field(default_factory=Journal)

    def __post_init__(self) -> None:
        journal = self.journal
        journal.users = {"alice's": ALICE, "bob's": BOB, "guest's": GUEST}
        journal.in_order = {"bob's", "guest's"}
        for number, line in enumerate(line for line in self.log if line.text):
            assert line.text is not None
            journal.sends.append(Send(f"{line.actor}'s", number, ROOM, line.text, line.seq, {line.seq}, line.seq + 0.1))
        for line in self.log:
            journal.given += [Given(device, ROOM, line, line.seq + 0.2) for device in self.may_see(line.seq)]
        journal.resumed.append(Resumed("bob's", 6.5, 6.6))

    def may_see(self, seq: int) -> list[str]:
        return ["alice's", "bob's", *(["guest's"] if 3 <= seq <= 5 else [])]

    def given(self, device: str, seq: int) -> Given:
        return next(each for each in self.journal.given if (each.device, each.line.seq) == (device, seq))

    def guest_is_back(self, said_at: float) -> None:
        """Add the guest again, who sends "five" at `said_at` and then "six"; the log has them reversed."""
        for line in (Line(8, ALICE, None, ((GUEST, True),)), Line(9, GUEST, "six"), Line(10, GUEST, "five")):
            self.log.append(line)
            self.journal.given += [Given(f"{user}'s", ROOM, line, line.seq + 0.2) for user in (ALICE, BOB, GUEST)]
        self.journal.sends.append(Send("guest's", 10, ROOM, "five", said_at, {10}, 10.1))
        self.journal.sends.append(Send("guest's", 11, ROOM, "six", 8.9, {9}, 9.1))

    def broken(self) -> set[str]:
        return {each.promise[:2] for each in broken_promises(self.journal, {ROOM: self.log})}


def test_correct_story_breaks_no_promise() -> None:
    assert Story().broken() == set()


def lost(story: Story) -> None:
    story.journal.sends.append(Send("bob's", 9, ROOM, "never written", 8.0, {8}, 8.1))


def elsewhere(story: Story) -> None:
    story.journal.sends[0].seqs = {6}


def gap(story: Story) -> None:
    del story.log[5]
    story.journal.given = [each for each in story.journal.given if each.line.seq != 6]
    story.journal.sends = [each for each in story.journal.sends if each.text != "three"]


def another_to_bob(story: Story) -> None:
    seen = story.given("bob's", 6)
    story.journal.given[story.journal.given.index(seen)] = Given("bob's", ROOM, Line(6, BOB, "other"), seen.at)


def order(story: Story) -> None:
    story.journal.sends[0].number, story.journal.sends[3].number = 3, 0


def one_missing_in_order(story: Story) -> None:
    story.journal.given.remove(story.given("bob's", 4))
    story.journal.given.append(Given("bob's", ROOM, story.log[3], 8.0))


def repeated_in_order(story: Story) -> None:
    story.journal.given.append(Given("bob's", ROOM, story.log[6], 8.0))


def doubled(story: Story) -> None:
    again = Line(8, BOB, "three")
    story.log.append(again)
    story.journal.given += [Given(device, ROOM, again, 8.2) for device in ("alice's", "bob's")]


def two_answers(story: Story) -> None:
    story.journal.sends[3].seqs = {6, 7}


def not_delivered(story: Story) -> None:
    story.journal.given.remove(story.given("bob's", 7))


def not_resumed(story: Story) -> None:
    seen = story.given("alice's", 2)
    story.journal.given[story.journal.given.index(seen)] = Given("alice's", ROOM, seen.line, 5.0)
    story.journal.resumed.append(Resumed("alice's", 3.0, 3.1))


def late(story: Story) -> None:
    seen = story.given("bob's", 7)
    story.journal.given[story.journal.given.index(seen)] = Given("bob's", ROOM, seen.line, 30.0)


def read_after_leaving(story: Story) -> None:
    story.journal.given.append(Given("guest's", ROOM, story.log[5], 8.0))


def written_after_leaving(story: Story) -> None:
    line = Line(8, GUEST, "am I still here?")
    story.log.append(line)
    story.journal.given += [Given(device, ROOM, line, 8.2) for device in ("alice's", "bob's")]


def given_after_revocation(story: Story) -> None:
    story.journal.revoked.append(Revoked("alice's", 4.0))


STORIES: list[tuple[str, Callable[[Story], None]]] = [
    ("P1", lost),
    ("P1", elsewhere),
    ("P2", gap),
    ("P2", another_to_bob),
    ("P2", order),
    ("P2", one_missing_in_order),
    ("P2", repeated_in_order),
    ("P3", doubled),
    ("P3", two_answers),
    ("P4", not_delivered),
    ("P5", not_resumed),
    ("P6", late),
    ("P8", read_after_leaving),
    ("P8", written_after_leaving),
    ("P8", given_after_revocation),
]


@pytest.mark.parametrize(("promise", "breaks"), STORIES, ids=[breaks.__name__ for _, breaks in STORIES])
def test_broken_promise_is_found(promise: str, breaks: Callable[[Story], None]) -> None:
    story = Story()
    breaks(story)
    assert promise in story.broken()


@pytest.mark.parametrize("struck_at", [None, 6.05 + 2.0])
def test_delayed_message_of_removed_member_is_leak_without_fault(struck_at: float | None) -> None:
    story = Story()
    story.journal.revoked.append(Revoked("alice's", 6.05))
    if struck_at is not None:
        story.journal.struck.append(Struck("something later", struck_at, 12.0, 1))
    story.journal.given = [each for each in story.journal.given if (each.device, each.line.seq) != ("alice's", 7)]
    seen = story.given("alice's", 6)
    story.journal.given[story.journal.given.index(seen)] = Given("alice's", ROOM, seen.line, 8.1)
    assert story.broken() == {"P8"}


def test_frozen_servers_held_entries_are_no_leak_but_later_ones_are() -> None:
    story = Story()
    story.journal.revoked.append(Revoked("alice's", 5.95))
    story.journal.struck.append(Struck("frozen", 5.9, 8.0, 1))
    story.journal.given = [each for each in story.journal.given if (each.device, each.line.seq) != ("alice's", 7)]
    seen = story.given("alice's", 6)
    story.journal.given[story.journal.given.index(seen)] = Given("alice's", ROOM, seen.line, 8.1)
    assert story.broken() == set()
    story.journal.given.append(Given("alice's", ROOM, story.log[6], 8.1))
    assert story.broken() == {"P8"}


def test_message_sent_outside_membership_may_be_missing() -> None:
    story = Story()
    story.guest_is_back(said_at=7.5)
    assert story.broken() == set()


def test_message_sent_as_member_must_keep_order() -> None:
    story = Story()
    story.guest_is_back(said_at=8.5)
    assert story.broken() == {"P2"}


def test_later_readmission_excuses_no_earlier_loss() -> None:
    story = Story()
    story.guest_is_back(said_at=8.5)
    for line in (Line(11, ALICE, None, ((GUEST, False),)), Line(12, ALICE, None, ((GUEST, True),))):
        story.log.append(line)
        story.journal.given += [Given(f"{user}'s", ROOM, line, line.seq + 0.2) for user in (ALICE, BOB, GUEST)]
    assert story.broken() == {"P2"}


def test_delay_during_fault_is_not_late() -> None:
    story = Story()
    late(story)
    story.journal.struck.append(Struck("something", 12.0, 25.0, 1))
    assert story.broken() == set()
    story.journal.struck[-1] = Struck("something", 2.0, 6.0, 1)
    assert story.broken() == {"P6"}

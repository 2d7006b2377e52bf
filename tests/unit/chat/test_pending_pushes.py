"""A home queues deliveries for users who are away, once it is known who is, and what they have read since."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_service.model.delivery import DeliveredEntry, Delivery
from chat_service.push.pending_pushes import HOLD_S, MAX_HELD, MAX_UNHEARD, UNHEARD_MS, PendingPushes
from parley.chat.v1 import chat_pb2, entry_pb2
from parley.internal.v1.notify_pb2 import QueuedPush
from tests.clock import ManualClock

ALICE, BOB, CAROL = "a" * 32, "b" * 32, "c" * 32
GROUP = "9" * 32


class PushingHome:
    """The pushes of a home. `present` are the users in the foreground; `queued` the events."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.present: set[str] = set()
        # Users whose home is another server, and the seqs and users of the deliveries handed to it.
        self.moved: set[str] = set()
        self.forwarded: list[tuple[int, list[str]]] = []
        self.queued: list[QueuedPush] = []
        self.pushes = PendingPushes(self, self.present.__contains__, self.is_home_of, self.forward, self.clock)

    def is_home_of(self, user: str) -> bool:
        return user not in self.moved

    def forward(self, users: Collection[str], delivery: Delivery) -> None:
        entry = entry_pb2.Entry.FromString(delivery.entries[0].entry)
        self.forwarded.append((entry.seq, list(users)))

    def add(self, event: bytes) -> None:
        self.queued.append(QueuedPush.FromString(event))

    def deliver(self, seq: int, *users: str, author: str = ALICE, push_only: bool = False) -> None:
        self.offer([(seq, author)], *users, push_only=push_only)

    def offer(self, entries: list[tuple[int, str]], *users: str, push_only: bool = False) -> None:
        delivered = [
            DeliveredEntry(
                entry_pb2.Entry(conversation_id=GROUP, seq=seq, actor_id=author).SerializeToString(), author, b""
            )
            for seq, author in entries
        ]
        self.pushes.offer(users, Delivery(entries=tuple(delivered), push_only=push_only))

    def unpushed(self, user: str) -> tuple[int, int] | None:
        """Return the seq of the last entry that is not pushed to a user in the foreground, and its age in ms."""
        found = self.pushes.find_unpushed(user)
        assert found is None or found.conversation_id == GROUP
        return (found.seq, self.clock.now_ms() - found.time_ms) if found is not None else None

    def read(self, user: str, seq: int, *recipients: str) -> None:
        mark = chat_pb2.Watermark(conversation_id=GROUP, user_id=user, delivered_seq=seq, read_seq=seq)
        self.pushes.offer(recipients or [user], Delivery(watermarks=(mark.SerializeToString(),)))

    def entries(self) -> list[tuple[list[int], list[str]]]:
        """Return seqs and users of the queued entries."""
        found = [each.entries for each in self.queued if each.HasField("entries")]
        assert all(each.conversation_id == GROUP for each in found)
        return [([entry.seq for entry in each.entries], list(each.user_ids)) for each in found]

    def reads(self) -> list[tuple[str, int]]:
        return [(each.read.user_id, each.read.read_seq) for each in self.queued if each.HasField("read")]


@pytest.fixture
def home() -> PushingHome:
    """A home whose edges have attached their sessions."""
    home = PushingHome()
    home.clock.advance(HOLD_S)
    return home


def test_entries_are_queued_for_users_who_are_away(home: PushingHome) -> None:
    home.present |= {ALICE, BOB}
    home.deliver(1, ALICE, BOB)
    assert home.queued == []
    home.deliver(2, ALICE, BOB, CAROL)
    home.present.discard(BOB)
    home.deliver(3, ALICE, BOB, CAROL)
    assert home.entries() == [([2], [CAROL]), ([3], [BOB, CAROL])]
    assert {each.queue_time.ToMilliseconds() for each in home.queued} == {home.clock.now_ms()}


def test_home_waits_until_sessions_are_attached(home: PushingHome) -> None:
    home.pushes.hold()
    home.deliver(1, BOB, CAROL)
    home.clock.advance(HOLD_S - 0.1)
    assert home.queued == []
    home.pushes.hold()
    home.present.add(BOB)
    home.clock.advance(HOLD_S)
    assert home.entries() == [([1], [CAROL])]


def test_more_deliveries_than_can_be_held_are_queued_at_once(home: PushingHome) -> None:
    home.pushes.hold()
    for seq in range(MAX_HELD + 1):
        home.deliver(seq + 1, BOB)
    assert home.entries() == [([MAX_HELD + 1], [BOB])]


def test_reads_are_queued_after_a_push_until_all_is_read(home: PushingHome) -> None:
    home.deliver(1, BOB, CAROL)
    home.deliver(2, BOB)
    home.read(CAROL, 1, ALICE, BOB)
    assert home.reads() == [], "the mark of another user"
    home.read(BOB, 1, ALICE, BOB)
    home.read(BOB, 2, ALICE, BOB)
    home.read(BOB, 3, ALICE, BOB)
    assert home.reads() == [(BOB, 1), (BOB, 2)]
    home.read(CAROL, 1)
    assert home.reads()[2:] == [(CAROL, 1)]


def test_what_came_before_a_device_fell_silent_is_queued(home: PushingHome) -> None:
    home.present.add(BOB)
    home.deliver(1, BOB)
    home.clock.advance(UNHEARD_MS / 1000)
    home.deliver(2, BOB)
    home.deliver(3, BOB)
    home.clock.advance(1)
    home.pushes.offer_unheard(BOB)
    assert home.entries() == [], "another device of the user is in the foreground"
    home.present.clear()
    home.pushes.offer_unheard(BOB)
    home.pushes.offer_unheard(BOB)
    assert home.entries() == [([2], [BOB]), ([3], [BOB])]


def test_number_of_deliveries_kept_for_a_user_is_bounded(home: PushingHome) -> None:
    home.present.add(BOB)
    for seq in range(MAX_UNHEARD + 5):
        home.deliver(seq + 1, BOB)
    home.present.clear()
    home.pushes.offer_unheard(BOB)
    assert [seqs for seqs, _ in home.entries()] == [[seq + 6] for seq in range(MAX_UNHEARD)]


def test_receipt_that_reads_nothing_new_is_not_queued(home: PushingHome) -> None:
    home.deliver(9, BOB)
    home.read(BOB, 4)
    home.read(BOB, 4)
    home.deliver(10, BOB)
    home.read(BOB, 4)
    assert home.reads() == [(BOB, 4)]
    home.read(BOB, 5)
    home.read(BOB, 10)
    assert home.reads() == [(BOB, 4), (BOB, 5), (BOB, 10)]


def test_home_that_has_just_taken_over_queues_reads_until_they_cover_what_came_before(home: PushingHome) -> None:
    home.read(BOB, 1, ALICE, BOB)
    home.read(BOB, 2, ALICE, BOB)
    assert home.reads() == [(BOB, 1), (BOB, 2)], "another home may have queued pushes of both"
    home.present.add(BOB)
    home.deliver(4, BOB)
    home.read(BOB, 3)
    home.read(BOB, 4)
    home.deliver(5, BOB)
    home.read(BOB, 5)
    assert home.reads()[2:] == [(BOB, 3)], "no other home queued the entry that came here"


def test_reads_of_a_device_in_the_foreground_are_queued_once(home: PushingHome) -> None:
    """However far the reads are behind what comes meanwhile, and of a conversation in which the user alone writes."""
    home.present |= {ALICE, BOB}
    for seq in range(1, 20):
        home.deliver(seq, ALICE, BOB)
        if seq > 4:
            home.read(BOB, seq - 4)
        home.read(ALICE, seq)
    assert home.reads() == []


def test_first_read_after_a_change_of_the_ring_is_queued_once(home: PushingHome) -> None:
    home.present.add(BOB)
    home.deliver(7, BOB)
    home.deliver(8, BOB)
    home.read(BOB, 6)
    home.read(BOB, 7)
    home.read(BOB, 8)
    assert home.reads() == [(BOB, 6)], "another home may have queued what is older than 7"


def test_home_to_which_a_user_returns_queues_the_read_of_what_another_home_pushed(home: PushingHome) -> None:
    home.deliver(5, BOB)
    home.read(BOB, 5)
    home.pushes.hold()
    home.clock.advance(HOLD_S)
    home.read(BOB, 6)
    assert home.reads() == [(BOB, 5), (BOB, 6)]


class MovingUser:
    """Bob, whose home is one of two: each step is one of STEPS."""

    STEPS = ("send", "read one", "read all", "move", "come or go")

    def __init__(self) -> None:
        self.home, self.other = PushingHome(), PushingHome()
        self.newest = self.read = 0
        self.settle()

    def settle(self) -> None:
        for home in (self.home, self.other):
            home.clock.advance(HOLD_S)

    def take(self, step: str) -> None:
        match step:
            case "send":
                self.newest += 1
                self.home.deliver(self.newest, BOB)
            case "read one" | "read all" if self.read < self.newest:
                self.read = self.newest if step == "read all" else self.read + 1
                self.home.read(BOB, self.read)
            case "move":
                self.move()
            case "come or go":
                self.home.present ^= {BOB}

    def move(self) -> None:
        """Make the other server the home, as a change of the ring does."""
        self.other.present |= self.home.present
        self.home.present.clear()
        self.home.pushes.forget_user(BOB)
        self.home, self.other = self.other, self.home
        for home in (self.home, self.other):
            home.pushes.hold()
        self.settle()


@given(st.lists(st.sampled_from(MovingUser.STEPS), max_size=20))
def test_read_of_all_reaches_what_any_home_has_pushed(steps: list[str]) -> None:
    bob = MovingUser()
    for step in [*steps, "read all"]:
        bob.take(step)
    homes = (bob.home, bob.other)
    pushed = max((seqs[-1] for home in homes for seqs, _ in home.entries()), default=0)
    assert max((seq for home in homes for _, seq in home.reads()), default=0) >= pushed


def test_users_whose_home_is_another_server_are_handed_to_it(home: PushingHome) -> None:
    home.moved.add(BOB)
    home.deliver(1, BOB, CAROL)
    assert home.queued == []
    assert home.forwarded == []
    home.clock.advance(HOLD_S)
    assert home.entries() == [([1], [CAROL])]
    assert home.forwarded == [(1, [BOB])]


def test_user_who_moved_back_meanwhile_stays_here(home: PushingHome) -> None:
    home.moved.add(BOB)
    home.deliver(1, BOB)
    home.moved.clear()
    home.clock.advance(HOLD_S)
    assert home.entries() == [([1], [BOB])]
    assert home.forwarded == []


def test_last_entry_that_is_not_pushed_to_a_user_in_the_foreground_is_known(home: PushingHome) -> None:
    home.present |= {ALICE, BOB}
    assert home.unpushed(BOB) is None
    home.deliver(1, ALICE, BOB, CAROL)
    home.clock.advance(3)
    assert home.unpushed(BOB) == (1, 3000)
    assert home.unpushed(CAROL) is None, "a user who is away"
    assert home.unpushed(ALICE) is None, "nobody is notified of their own entries"
    home.deliver(2, BOB)
    home.deliver(3, BOB, author=BOB)
    home.deliver(1, BOB, push_only=True)
    assert home.unpushed(BOB) == (2, 0)
    home.offer([(4, ALICE), (5, BOB)], ALICE, BOB)
    assert (home.unpushed(BOB), home.unpushed(ALICE)) == ((4, 0), (5, 0))
    home.pushes.forget_user(BOB)
    assert home.unpushed(BOB) is None


def test_held_entry_is_not_pushed_to_a_user_who_came_back_and_is_older_than_live_ones(home: PushingHome) -> None:
    home.pushes.hold()
    home.deliver(1, BOB, CAROL)
    home.present |= {BOB, CAROL}
    home.clock.advance(1)
    home.deliver(2, BOB)
    home.clock.advance(HOLD_S)
    assert home.queued == []
    assert (home.unpushed(BOB), home.unpushed(CAROL)) == ((2, 5000), (1, 6000))

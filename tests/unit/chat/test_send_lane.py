"""A lane keeps the order of a sender, whatever owners answer, and whenever."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest

from chat_service.errors import (
    ConversationBusy,
    ConversationNotFound,
    EarlierSendRefused,
    OwnerUnavailable,
    RateLimited,
)
from chat_service.model.entry import Draft, Message
from chat_service.model.requests import RETRY_WINDOW_S, Appended, AppendOutcome
from chat_service.stream.send_gate import RecentlyAnswered
from chat_service.stream.send_lane import SendLane
from servicekit.failure import Failure

CONVERSATION, ALICE = "c" * 32, "a" * 32


@dataclass
class LaneHarness:
    """A lane, what it forwarded and told, and a clock and timers that go when they are told to."""

    owner: str = "one"
    now: float = 0.0
    forwarded: list[tuple[str, int, str, Callable[[AppendOutcome], None]]] = field(default_factory=list)
    told: list[tuple[str, AppendOutcome]] = field(default_factory=list)
    timers: list[Callable[[], None]] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def lane(self, attempts: count[int] | None = None, decided: RecentlyAnswered | None = None) -> SendLane:
        return SendLane(
            lambda: self.owner,
            lambda draft, attempt, target, reply: self.forwarded.append((name(draft), attempt, target, reply)),
            lambda draft, answer: self.told.append((name(draft), answer)),
            lambda _, call: self.timers.append(call),
            self,  # type: ignore[arg-type]
            100,
            attempts or count(1),
            decided or RecentlyAnswered(200),
        )

    def taken(self) -> list[tuple[str, int, str]]:
        """What was forwarded since this was last asked, still unanswered or not."""
        return [each[:3] for each in self.forwarded]

    def answer(self, *answers: AppendOutcome) -> None:
        """Answer what was forwarded, oldest first."""
        waiting, self.forwarded = self.forwarded, []
        for (_, _, _, reply), answer in zip(waiting, answers, strict=True):
            reply(answer)

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for call in timers:
            call()


@pytest.fixture
def lane_harness() -> LaneHarness:
    return LaneHarness()


def name(draft: Draft) -> str:
    return draft.request_id.rstrip(b".").decode()


def draft(text: str) -> Draft:
    return Draft(CONVERSATION, ALICE, text.encode().ljust(16, b"."), Message(text.encode()), 0)


def kinds(told: list[tuple[str, AppendOutcome]]) -> list[tuple[str, str]]:
    return [(text, answer.reason if isinstance(answer, Failure) else "taken") for text, answer in told]


def elsewhere() -> OwnerUnavailable:
    return OwnerUnavailable("another server owns this", retry_after=0.05)


def behind() -> EarlierSendRefused:
    return EarlierSendRefused("an earlier one was refused")


def test_what_an_owner_cannot_take_now_goes_to_the_next_one_in_order(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    for text in "abc":
        lane.enqueue(draft(text))
    assert lane_harness.taken() == [("a", 1, "one"), ("b", 1, "one"), ("c", 1, "one")]
    lane_harness.owner = "two"
    lane_harness.answer(elsewhere(), behind(), behind())
    assert lane_harness.told == []
    lane.enqueue(draft("d"))
    assert lane_harness.taken() == [], "it waits behind those that go again"
    lane_harness.fire()
    assert lane_harness.taken() == [(text, 2, "two") for text in "abcd"]
    lane_harness.answer(*(Appended(seq, 0) for seq in range(1, 5)))
    assert kinds(lane_harness.told) == [(text, "taken") for text in "abcd"]
    assert lane.idle


def test_what_is_refused_for_now_is_told_and_closes_the_gate(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    for text in "abc":
        lane.enqueue(draft(text))
    lane_harness.answer(Appended(1, 0), ConversationBusy("busy", retry_after=0.1), behind())
    assert kinds(lane_harness.told) == [
        ("a", "taken"),
        ("b", "CONVERSATION_BUSY"),
        ("c", "EARLIER_SEND_REFUSED"),
    ]
    lane.enqueue(draft("c"))
    assert kinds(lane_harness.told)[-1] == ("c", "EARLIER_SEND_REFUSED")
    lane.enqueue(draft("b"))
    lane.enqueue(draft("c"))
    assert [each[:2] for each in lane_harness.taken()] == [("b", 2), ("c", 2)]


def test_what_is_refused_for_good_holds_nobody_up(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    for text in "ab":
        lane.enqueue(draft(text))
    lane_harness.answer(ConversationNotFound("conversation not found"), Appended(1, 0))
    assert kinds(lane_harness.told) == [("a", "CONVERSATION_NOT_FOUND"), ("b", "taken")]
    assert lane.idle


def test_a_lane_with_a_closed_gate_is_not_at_rest(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    lane.enqueue(draft("a"), RateLimited("too fast", retry_after=0.1))
    assert lane.all_answered
    assert not lane.idle


def test_a_lane_that_was_forgotten_begins_above_the_attempts_that_were_refused(lane_harness: LaneHarness) -> None:
    attempts = count(1)
    lane = lane_harness.lane(attempts)
    lane.enqueue(draft("a"))
    lane_harness.answer(elsewhere())
    lane_harness.fire()
    assert lane_harness.taken() == [("a", 2, "one")]
    again = lane_harness.lane(attempts)
    again.enqueue(draft("b"))
    assert lane_harness.taken()[-1] == ("b", 3, "one")


def test_what_was_decided_before_a_lane_was_forgotten_closes_no_gate(lane_harness: LaneHarness) -> None:
    decided = RecentlyAnswered(200)
    lane_harness.lane(decided=decided).enqueue(draft("a"))
    lane_harness.answer(Appended(1, 0))
    lane = lane_harness.lane(decided=decided)
    lane.enqueue(draft("a"), RateLimited("too fast", retry_after=0.1))
    lane.enqueue(draft("b"))
    assert [each[0] for each in lane_harness.taken()] == ["b"], "a was sent again before its answer was heard"


def test_a_send_that_came_again_and_was_refused_for_good_before_it_got_here_opens_its_gate(
    lane_harness: LaneHarness,
) -> None:
    lane = lane_harness.lane()
    lane.enqueue(draft("a"), RateLimited("too fast", retry_after=0.1))
    lane.forget_refused((CONVERSATION, draft("a").request_id))
    lane.enqueue(draft("b"))
    assert [each[0] for each in lane_harness.taken()] == ["b"]


def test_when_patience_is_over_all_are_refused_and_the_first_comes_first_again(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    for text in "ab":
        lane.enqueue(draft(text))
    lane_harness.now = RETRY_WINDOW_S + 1
    lane_harness.answer(elsewhere(), behind())
    lane_harness.fire()
    assert kinds(lane_harness.told) == [("a", "OWNER_UNAVAILABLE"), ("b", "EARLIER_SEND_REFUSED")]
    lane.enqueue(draft("b"))
    assert kinds(lane_harness.told)[-1] == ("b", "EARLIER_SEND_REFUSED")


def test_of_two_that_were_refused_the_earlier_one_comes_first_again(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    lane.enqueue(draft("a"))
    lane.enqueue(draft("b"), RateLimited("too fast", retry_after=0.1))
    # Only now, with the gate closed by the later one, the owner refuses the earlier.
    lane_harness.answer(ConversationBusy("busy", retry_after=0.1))
    lane.enqueue(draft("b"))
    assert kinds(lane_harness.told)[-1] == ("b", "EARLIER_SEND_REFUSED")
    lane.enqueue(draft("a"))
    lane.enqueue(draft("c"))
    assert kinds(lane_harness.told)[-1] == ("c", "EARLIER_SEND_REFUSED"), (
        "b was refused as well, and has not come again"
    )
    lane.enqueue(draft("b"))
    lane.enqueue(draft("c"))
    assert [each[0] for each in lane_harness.taken()] == ["a", "b", "c"]


def test_what_waited_to_be_forwarded_does_not_pass_what_was_refused(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    lane.enqueue(draft("a"))
    lane.enqueue(draft("b"))
    first, second = lane_harness.forwarded
    first[3](elsewhere())
    # Behind one that goes again: not forwarded yet.
    lane.enqueue(draft("c"))
    second[3](ConversationBusy("busy", retry_after=0.1))
    assert kinds(lane_harness.told) == [("b", "CONVERSATION_BUSY"), ("c", "EARLIER_SEND_REFUSED")]


def test_an_owner_here_that_refuses_at_once_is_asked_once_for_each(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    lane.enqueue(draft("a"))
    for number in range(99):
        lane.enqueue(draft(f"b{number}"))
    waiting, lane_harness.forwarded = lane_harness.forwarded, []
    asked: list[str] = []

    def refuse(each: Draft, _attempt: int, _target: str, reply: Callable[[AppendOutcome], None]) -> None:
        asked.append(name(each))
        reply(ConversationBusy("busy", retry_after=0.1))

    lane._forward = refuse
    for _, _, _, reply in waiting:
        reply(elsewhere())
    lane_harness.fire()
    assert asked == ["a"]
    assert kinds(lane_harness.told) == [
        ("a", "CONVERSATION_BUSY"),
        *((f"b{number}", "EARLIER_SEND_REFUSED") for number in range(99)),
    ]


def test_what_comes_again_and_is_refused_again_keeps_its_place(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    for _ in range(3):
        lane.enqueue(draft("a"), RateLimited("too fast", retry_after=0.1))
    lane.enqueue(draft("a"))
    lane.enqueue(draft("b"))
    assert [each[0] for each in lane_harness.taken()] == ["a", "b"]

"""A send lane keeps the order of a sender for every order and kind of outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest

from chat_service.errors import ConversationBusy, ConversationNotFound, EarlierSendRefused, OwnerUnavailable
from chat_service.model.entry import Draft, Message
from chat_service.model.requests import RETRY_WINDOW_S, Appended, AppendOutcome
from chat_service.stream.send_gate import RecentlyAnswered
from chat_service.stream.send_lane import SendLane
from servicekit.errors import RateLimited
from servicekit.failure import Failure

CONVERSATION, ALICE = "c" * 32, "a" * 32


@dataclass
class LaneHarness:
    """A lane with its forwarded sends and reported outcomes, and with a manual clock and timers."""

    owner: str = "one"
    now: float = 0.0
    forwarded: list[tuple[str, int, str, Callable[[AppendOutcome], None]]] = field(default_factory=list)
    claims: list[tuple[Draft, Callable[[Draft | Failure], None]]] = field(default_factory=list)
    outcomes: list[tuple[str, AppendOutcome]] = field(default_factory=list)
    timers: list[Callable[[], None]] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def lane(self, attempts: count[int] | None = None, decided: RecentlyAnswered | None = None) -> SendLane:
        return SendLane(
            lambda: self.owner,
            lambda draft, attempt, target, reply: self.forwarded.append((name(draft), attempt, target, reply)),
            lambda draft, reply: self.claims.append((draft, reply)),
            lambda draft, answer: self.outcomes.append((name(draft), answer)),
            lambda _, call: self.timers.append(call),
            self,  # type: ignore[arg-type]
            100,
            attempts or count(1),
            decided or RecentlyAnswered(200),
        )

    def forwarded_sends(self) -> list[tuple[str, int, str]]:
        """Return the forwarded sends that are unanswered, as (text, attempt, target)."""
        return [each[:3] for each in self.forwarded]

    def answer(self, *answers: AppendOutcome) -> None:
        """Answer the forwarded sends, oldest first."""
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


def reasons(outcomes: list[tuple[str, AppendOutcome]]) -> list[tuple[str, str]]:
    return [(text, answer.reason if isinstance(answer, Failure) else "appended") for text, answer in outcomes]


def not_owner() -> OwnerUnavailable:
    return OwnerUnavailable("another server owns this", retry_after=0.05)


def earlier_refused() -> EarlierSendRefused:
    return EarlierSendRefused("an earlier one was refused")


def test_sends_refused_by_former_owner_are_forwarded_to_new_owner_in_order(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    for text in "abc":
        lane.enqueue(draft(text))
    assert lane_harness.forwarded_sends() == [("a", 1, "one"), ("b", 1, "one"), ("c", 1, "one")]
    lane_harness.owner = "two"
    lane_harness.answer(not_owner(), earlier_refused(), earlier_refused())
    assert lane_harness.outcomes == []
    lane.enqueue(draft("d"))
    assert lane_harness.forwarded_sends() == [], "d waits behind the resent sends"
    lane_harness.fire()
    assert lane_harness.forwarded_sends() == [(text, 2, "two") for text in "abcd"]
    lane_harness.answer(*(Appended(seq, 0) for seq in range(1, 5)))
    assert reasons(lane_harness.outcomes) == [(text, "appended") for text in "abcd"]
    assert lane.idle


def test_retryable_refusal_is_reported_and_closes_the_gate(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    for text in "abc":
        lane.enqueue(draft(text))
    lane_harness.answer(Appended(1, 0), ConversationBusy("busy", retry_after=0.1), earlier_refused())
    assert reasons(lane_harness.outcomes) == [
        ("a", "appended"),
        ("b", "CONVERSATION_BUSY"),
        ("c", "EARLIER_SEND_REFUSED"),
    ]
    lane.enqueue(draft("c"))
    assert reasons(lane_harness.outcomes)[-1] == ("c", "EARLIER_SEND_REFUSED")
    lane.enqueue(draft("b"))
    lane.enqueue(draft("c"))
    assert [each[:2] for each in lane_harness.forwarded_sends()] == [("b", 2), ("c", 2)]


def test_final_refusal_does_not_block_later_sends(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    for text in "ab":
        lane.enqueue(draft(text))
    lane_harness.answer(ConversationNotFound("conversation not found"), Appended(1, 0))
    assert reasons(lane_harness.outcomes) == [("a", "CONVERSATION_NOT_FOUND"), ("b", "appended")]
    assert lane.idle


def test_lane_with_closed_gate_is_not_idle(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    lane.enqueue(draft("a"), RateLimited("too fast", retry_after=0.1))
    assert lane.all_answered
    assert not lane.idle


def test_recreated_lane_uses_a_higher_attempt(lane_harness: LaneHarness) -> None:
    attempts = count(1)
    lane = lane_harness.lane(attempts)
    lane.enqueue(draft("a"))
    lane_harness.answer(not_owner())
    lane_harness.fire()
    assert lane_harness.forwarded_sends() == [("a", 2, "one")]
    again = lane_harness.lane(attempts)
    again.enqueue(draft("b"))
    assert lane_harness.forwarded_sends()[-1] == ("b", 3, "one")


def test_repeat_of_answered_send_does_not_close_the_gate(lane_harness: LaneHarness) -> None:
    decided = RecentlyAnswered(200)
    lane_harness.lane(decided=decided).enqueue(draft("a"))
    lane_harness.answer(Appended(1, 0))
    lane = lane_harness.lane(decided=decided)
    lane.enqueue(draft("a"), RateLimited("too fast", retry_after=0.1))
    lane.enqueue(draft("b"))
    assert [each[0] for each in lane_harness.forwarded_sends()] == ["b"], (
        "a was repeated before the device received its outcome"
    )


def test_final_refusal_before_the_lane_reopens_the_gate(
    lane_harness: LaneHarness,
) -> None:
    lane = lane_harness.lane()
    lane.enqueue(draft("a"), RateLimited("too fast", retry_after=0.1))
    lane.forget_refused((CONVERSATION, draft("a").request_id))
    lane.enqueue(draft("b"))
    assert [each[0] for each in lane_harness.forwarded_sends()] == ["b"]


def test_all_sends_are_refused_after_retry_window(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    for text in "ab":
        lane.enqueue(draft(text))
    lane_harness.now = RETRY_WINDOW_S + 1
    lane_harness.answer(not_owner(), earlier_refused())
    lane_harness.fire()
    assert reasons(lane_harness.outcomes) == [("a", "OWNER_UNAVAILABLE"), ("b", "EARLIER_SEND_REFUSED")]
    lane.enqueue(draft("b"))
    assert reasons(lane_harness.outcomes)[-1] == ("b", "EARLIER_SEND_REFUSED")


def test_earliest_refused_send_reopens_the_gate(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    lane.enqueue(draft("a"))
    lane.enqueue(draft("b"), RateLimited("too fast", retry_after=0.1))
    # The later send has closed the gate; now the owner refuses the earlier one.
    lane_harness.answer(ConversationBusy("busy", retry_after=0.1))
    lane.enqueue(draft("b"))
    assert reasons(lane_harness.outcomes)[-1] == ("b", "EARLIER_SEND_REFUSED")
    lane.enqueue(draft("a"))
    lane.enqueue(draft("c"))
    assert reasons(lane_harness.outcomes)[-1] == ("c", "EARLIER_SEND_REFUSED"), (
        "b was refused as well, and was not resent yet"
    )
    lane.enqueue(draft("b"))
    lane.enqueue(draft("c"))
    assert [each[0] for each in lane_harness.forwarded_sends()] == ["a", "b", "c"]


def test_waiting_send_does_not_overtake_refused_send(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    lane.enqueue(draft("a"))
    lane.enqueue(draft("b"))
    first, second = lane_harness.forwarded
    first[3](not_owner())
    # Not forwarded yet: it waits behind a resent one.
    lane.enqueue(draft("c"))
    second[3](ConversationBusy("busy", retry_after=0.1))
    assert reasons(lane_harness.outcomes) == [("b", "CONVERSATION_BUSY"), ("c", "EARLIER_SEND_REFUSED")]


def test_synchronous_refusal_is_not_retried_for_each_send(lane_harness: LaneHarness) -> None:
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
        reply(not_owner())
    lane_harness.fire()
    assert asked == ["a"]
    assert reasons(lane_harness.outcomes) == [
        ("a", "CONVERSATION_BUSY"),
        *((f"b{number}", "EARLIER_SEND_REFUSED") for number in range(99)),
    ]


def test_repeatedly_refused_send_keeps_its_position(lane_harness: LaneHarness) -> None:
    lane = lane_harness.lane()
    for _ in range(3):
        lane.enqueue(draft("a"), RateLimited("too fast", retry_after=0.1))
    lane.enqueue(draft("a"))
    lane.enqueue(draft("b"))
    assert [each[0] for each in lane_harness.forwarded_sends()] == ["a", "b"]

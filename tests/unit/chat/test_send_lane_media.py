"""A send of a file waits in its lane until the file is claimed, and later sends wait behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import pytest

from chat_service.errors import ConversationBusy, OwnerUnavailable
from chat_service.model.entry import NO_REFERENCES, Draft, Message, References
from chat_service.model.requests import RETRY_WINDOW_S, Appended, AppendOutcome
from chat_service.stream.send_gate import RecentlyAnswered
from chat_service.stream.send_lane import SendLane
from servicekit.errors import RateLimited, ServiceUnavailable
from servicekit.failure import Failure

CONVERSATION, ALICE, FILE = "c" * 32, "a" * 32, "f" * 32
REPLY_TO_FILE = References(0, frozenset(), FILE)


@dataclass
class LaneHarness:
    """A lane with its forwarded sends, its claims and its outcomes, by the text of the send."""

    now: float = 0.0
    forwarded: dict[str, tuple[Draft, Callable[[AppendOutcome], None]]] = field(default_factory=dict)
    claims: dict[str, Callable[[Draft | Failure], None]] = field(default_factory=dict)
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    timers: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lane = SendLane(
            lambda: "owner",
            self._forward,
            lambda draft, reply: self.claims.__setitem__(name(draft), reply),
            lambda draft, outcome: self.outcomes.append((name(draft), reason(outcome))),
            lambda _, call: self.timers.append(call),
            self,  # type: ignore[arg-type]
            5,
            count(1),
            RecentlyAnswered(200),
        )

    def _forward(self, draft: Draft, _: int, __: str, reply: Callable[[AppendOutcome], None]) -> None:
        self.forwarded[name(draft)] = draft, reply

    def monotonic(self) -> float:
        return self.now

    def send(self, *texts: str) -> None:
        """Send texts; one in capitals is the caption of a file."""
        for text in texts:
            self.lane.enqueue(draft(text))

    def claim(self, text: str, outcome: Failure | None = None) -> None:
        """Answer the claim of a send: with its facts, or with a failure."""
        self.claims.pop(text)(outcome or with_facts(text))

    def answer(self, text: str, outcome: AppendOutcome) -> None:
        """Answer a forwarded send."""
        self.forwarded.pop(text)[1](outcome)

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for call in timers:
            call()


@pytest.fixture
def harness() -> LaneHarness:
    return LaneHarness()


def name(draft: Draft) -> str:
    return draft.request_id.rstrip(b".").decode()


def reason(outcome: AppendOutcome) -> str:
    return outcome.reason if isinstance(outcome, Failure) else "appended"


def draft(text: str) -> Draft:
    references = REPLY_TO_FILE if text.isupper() else NO_REFERENCES
    request_id = text.encode().ljust(16, b".")
    return Draft(CONVERSATION, ALICE, request_id, Message(text.encode()), made_ms=0, references=references)


def with_facts(text: str) -> Draft:
    return replace(draft(text), change=Message(b"with facts"), fingerprint=b"16 bytes of what")


def unavailable() -> ServiceUnavailable:
    return ServiceUnavailable("no media server")


def test_later_sends_wait_for_the_claim_and_keep_their_order(harness: LaneHarness) -> None:
    harness.send("a", "B", "c", "D", "e")
    assert list(harness.forwarded) == ["a"]
    harness.claim("D")
    assert list(harness.forwarded) == ["a"], "D waits for B"
    harness.claim("B")
    assert list(harness.forwarded) == ["a", "B", "c", "D", "e"]
    assert harness.forwarded["B"][0] == with_facts("B")
    assert harness.forwarded["c"][0] == draft("c")


def test_send_whose_claim_fails_for_now_lets_later_ones_pass(harness: LaneHarness) -> None:
    harness.send("A", "b", "C", "d")
    harness.claim("A", unavailable())
    assert list(harness.forwarded) == ["b"]
    harness.claim("C", unavailable())
    assert list(harness.forwarded) == ["b", "d"]
    assert harness.outcomes == [("A", "SERVICE_UNAVAILABLE"), ("C", "SERVICE_UNAVAILABLE")]
    for text in "bd":
        harness.answer(text, Appended(1, 0))
    assert harness.lane.idle


def test_file_refused_for_good_goes_to_the_owner_in_its_order(harness: LaneHarness) -> None:
    harness.send("A", "b")
    missing = replace(draft("A"), refusal=Failure("media not found", code="NOT_FOUND", reason="MEDIA_NOT_FOUND"))
    harness.claims.pop("A")(missing)
    assert harness.forwarded["A"][0] is missing
    assert list(harness.forwarded) == ["A", "b"]
    assert missing.refusal is not None
    harness.answer("A", missing.refusal)
    harness.send("c")
    assert harness.outcomes == [("A", "MEDIA_NOT_FOUND")]
    assert list(harness.forwarded) == ["b", "c"], "the refusal of A concerns A alone"


def test_send_that_is_claimed_at_last_closes_the_gate_as_any_other(harness: LaneHarness) -> None:
    harness.send("A")
    harness.claim("A", unavailable())
    harness.send("A", "b")
    harness.claim("A")
    harness.answer("A", ConversationBusy("busy", retry_after=0.1))
    harness.answer("b", Appended(1, 0))
    harness.send("c")
    assert harness.outcomes[1:] == [("A", "CONVERSATION_BUSY"), ("b", "appended"), ("c", "EARLIER_SEND_REFUSED")]


def test_claim_that_fails_for_now_opens_the_gate_at_its_send(harness: LaneHarness) -> None:
    harness.lane.enqueue(draft("A"), RateLimited("too fast", retry_after=0.1))
    harness.send("b")
    harness.send("A")
    harness.claim("A", unavailable())
    harness.send("b")
    assert harness.outcomes == [
        ("A", "RATE_LIMITED"),
        ("b", "EARLIER_SEND_REFUSED"),
        ("A", "SERVICE_UNAVAILABLE"),
    ]
    assert list(harness.forwarded) == ["b"]


def test_failed_claim_of_a_repeat_leaves_the_slot_of_the_first(harness: LaneHarness) -> None:
    harness.send("A")
    first = harness.claims.pop("A")
    harness.send("A")
    harness.claim("A", unavailable())
    first(with_facts("A"))
    harness.send("b")
    harness.answer("A", ConversationBusy("busy", retry_after=0.1))
    harness.answer("b", Appended(1, 0))
    harness.send("c")
    assert harness.outcomes[-1] == ("c", "EARLIER_SEND_REFUSED")


def test_waiting_send_is_reported_once_if_an_earlier_one_is_refused(harness: LaneHarness) -> None:
    harness.send("a", "B")
    harness.answer("a", ConversationBusy("busy", retry_after=0.1))
    assert harness.outcomes == [("a", "CONVERSATION_BUSY"), ("B", "EARLIER_SEND_REFUSED")]
    harness.claim("B")
    assert harness.forwarded == {}
    assert len(harness.outcomes) == 2


@pytest.mark.parametrize("claimed_first", [True, False])
def test_waiting_send_follows_one_that_is_retried(harness: LaneHarness, claimed_first: bool) -> None:
    harness.send("a", "B")
    harness.answer("a", OwnerUnavailable("elsewhere", retry_after=0.05))
    if claimed_first:
        harness.claim("B")
        assert harness.forwarded == {}
        harness.fire()
    else:
        harness.fire()
        assert list(harness.forwarded) == ["a"]
        harness.claim("B")
    assert list(harness.forwarded) == ["a", "B"]


def test_waiting_send_is_given_up_with_its_lane(harness: LaneHarness) -> None:
    harness.send("a", "B")
    harness.now = RETRY_WINDOW_S + 1
    harness.answer("a", OwnerUnavailable("elsewhere", retry_after=0.05))
    harness.fire()
    assert harness.outcomes == [("a", "OWNER_UNAVAILABLE"), ("B", "EARLIER_SEND_REFUSED")]
    harness.claim("B", unavailable())
    assert len(harness.outcomes) == 2


def test_waiting_sends_count_as_unanswered(harness: LaneHarness) -> None:
    harness.send("A", "b", "c", "d", "e", "f")
    assert harness.outcomes == [("f", "OWNER_UNAVAILABLE")]
    assert not harness.lane.all_answered
    assert not harness.lane.idle


def test_gated_send_of_a_file_is_not_claimed(harness: LaneHarness) -> None:
    harness.lane.enqueue(draft("a"), RateLimited("too fast", retry_after=0.1))
    harness.send("B")
    assert harness.claims == {}
    assert harness.outcomes[-1] == ("B", "EARLIER_SEND_REFUSED")

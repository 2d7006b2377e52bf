"""A property test: no send overtakes an earlier one, for any order of outcomes and any resends of the device."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat_service.errors import ConversationBusy, EarlierSendRefused, OwnerUnavailable
from chat_service.model.entry import NO_REFERENCES, Draft, Message, References
from chat_service.model.requests import RETRY_WINDOW_S, Appended, AppendOutcome
from chat_service.stream.send_gate import RecentlyAnswered
from chat_service.stream.send_lane import SendLane
from servicekit.errors import RateLimited, ServiceUnavailable
from servicekit.failure import Failure

CONVERSATION, ALICE = "c" * 32, "a" * 32
SENDS = 12
# The owner's decisions on the next sends, and whether it answers synchronously.
choices = st.lists(st.tuples(st.sampled_from(["take", "busy", "elsewhere"]), st.booleans()), max_size=60)
# The steps: the device sends a new message, sends too fast, resends refused or unanswered sends; an outcome arrives
# at the lane or at the device; a retry timer fires; the retry window ends; the oldest claim of a file is answered.
STEPS = [
    "send",
    "send_too_fast",
    "resend",
    "resend_too_fast",
    "repeat",
    "repeat_last",
    "answer",
    "receive",
    "fire",
    "wait",
    "claim",
]
# Each simulation uses a subset of the steps, so that failures that need only a few kinds are found sooner.
steps = st.sets(st.sampled_from(STEPS[1:])).flatmap(
    lambda kinds: st.lists(st.sampled_from(["send", *sorted(kinds)]), min_size=4, max_size=60)
)
# Sends that are always refused for good.
forbidden = st.sets(st.integers(1, SENDS), max_size=4)
# Sends of files, those of them whose file is refused for good, and whether the next claims can be made.
media = st.sets(st.integers(1, SENDS), max_size=6)
missing = st.sets(st.integers(1, SENDS), max_size=3)
claimable = st.lists(st.booleans(), max_size=20)


class SendSimulation:
    """A simulation of a device, a lane, and an owner that keeps the order of each attempt."""

    def __init__(
        self,
        choices: list[tuple[str, bool]],
        forbidden: set[int],
        most: int,
        *,
        patient: bool,
        late: bool,
        media: set[int],
        missing: set[int],
        claimable: list[bool],
    ) -> None:
        self.log: list[int] = []
        # Sends of files that could not be claimed at some time: later sends may pass them.
        self.unclaimed: set[int] = set()
        self._media = media
        self._missing = missing
        self._claimable = deque(claimable)
        self._claims: deque[tuple[Draft, Callable[[Draft | Failure], None]]] = deque()
        self.sent_count = 0
        self._forbidden = forbidden
        self._now = 0.0
        self._choices = deque(choices)
        self._refused_attempt = 0
        self._answers: deque[tuple[Callable[[AppendOutcome], None], AppendOutcome]] = deque()
        self._timers: deque[Callable[[], None]] = deque()
        # A patient device receives all outcomes before it resends; another one also resends unanswered sends.
        self._patient = patient
        # With a small window an outcome may be forgotten before the device receives it.
        self._repeats = not patient and most >= SENDS
        # The device receives outcomes late, and acts only on received ones.
        self._late = late
        self._undelivered: deque[tuple[int, AppendOutcome]] = deque()
        self._outstanding: Counter[int] = Counter()
        self._refused: set[int] = set()
        self._done: set[int] = set()
        self._lane = SendLane(
            lambda: "owner",
            self._append,
            lambda draft, reply: self._claims.append((draft, reply)),
            self._on_outcome,
            lambda _, call: self._timers.append(call),
            self,  # type: ignore[arg-type]
            most,
            count(1),
            RecentlyAnswered(2 * most),
        )

    def monotonic(self) -> float:
        return self._now

    def wait(self) -> None:
        self._now += RETRY_WINDOW_S + 1

    def send(self) -> None:
        if self.sent_count < SENDS:
            self.sent_count += 1
            self._submit(self.sent_count)

    def send_too_fast(self) -> None:
        if self.sent_count < SENDS:
            self.sent_count += 1
            self._submit(self.sent_count, RateLimited("too fast", retry_after=0.1))

    def resend(self) -> None:
        """Resend the first refused send and all later unanswered ones, in order."""
        for number in self._take_refused():
            self._submit(number)

    def resend_too_fast(self) -> None:
        """Do the same, with the second half of the sends too fast."""
        again = self._take_refused()
        for number in again[: len(again) // 2]:
            self._submit(number)
        for number in again[len(again) // 2 :]:
            self._submit(number, RateLimited("too fast", retry_after=0.1))

    def repeat(self) -> None:
        """Resend the oldest unanswered send alone."""
        self._repeat(min)

    def repeat_last(self) -> None:
        """Resend the newest unanswered send alone."""
        self._repeat(max)

    def _repeat(self, which: Callable[[set[int]], int]) -> None:
        if self._repeats and self.unanswered:
            self._submit(which(self.unanswered))

    def _take_refused(self) -> list[int]:
        if not self._refused or (self._patient and self._outstanding.total()):
            return []
        first = min(self._refused)
        self._refused.clear()
        return [number for number in sorted(self.unanswered) if number >= first]

    def answer(self) -> None:
        if self._answers:
            reply, answer = self._answers.popleft()
            reply(answer)

    def fire(self) -> None:
        if self._timers:
            self._timers.popleft()()

    def claim(self) -> None:
        if not self._claims:
            return
        draft, reply = self._claims.popleft()
        number = int.from_bytes(draft.request_id, "big")
        if not (self._claimable.popleft() if self._claimable else True):
            self.unclaimed.add(number)
            reply(ServiceUnavailable("no media server"))
        elif number in self._missing:
            reply(replace(draft, refusal=Failure("media not found", code="NOT_FOUND", reason="MEDIA_NOT_FOUND")))
        else:
            reply(replace(draft, fingerprint=b"claimed"))

    def receive(self) -> None:
        if self._undelivered:
            self._receive_outcome(*self._undelivered.popleft())

    def end(self) -> None:
        """Run to completion: the owner accepts every send, and the device receives every outcome at once."""
        self._choices.clear()
        self._claimable.clear()
        self._late = False
        while self._undelivered:
            self.receive()
        for _ in range(10 * SENDS):
            for step in (self.claim, self.answer, self.fire, self.resend):
                step()

    @property
    def unanswered(self) -> set[int]:
        return set(range(1, self.sent_count + 1)) - self._done

    def _submit(self, number: int, refusal: Failure | None = None) -> None:
        self._outstanding[number] += 1
        references = References(0, frozenset(), "f" * 32) if number in self._media else NO_REFERENCES
        draft = Draft(
            CONVERSATION, ALICE, number.to_bytes(16, "big"), Message(b"words"), made_ms=0, references=references
        )
        self._lane.enqueue(draft, refusal)

    def _append(self, draft: Draft, attempt: int, _: str, reply: Callable[[AppendOutcome], None]) -> None:
        assert draft.fingerprint or draft.refusal or not draft.references.media_id, "forwarded without its claim"
        decision, at_once = self._choices.popleft() if self._choices else ("take", True)
        number = int.from_bytes(draft.request_id, "big")
        answer = self._answer(number, attempt, decision, draft.refusal)
        if at_once and not self._answers:
            reply(answer)
        else:
            self._answers.append((reply, answer))

    def _answer(self, number: int, attempt: int, decision: str, refusal: Failure | None) -> AppendOutcome:
        if attempt <= self._refused_attempt:
            return EarlierSendRefused("an earlier send was refused")
        if number in self._forbidden or refusal is not None:
            return refusal or Failure("not for you")
        if decision == "take":
            if number not in self.log:
                self.log.append(number)
            return Appended(self.log.index(number) + 1, 0)
        self._refused_attempt = attempt
        if decision == "busy":
            return ConversationBusy("busy", retry_after=0.1)
        return OwnerUnavailable("elsewhere", retry_after=0.05)

    def _on_outcome(self, draft: Draft, answer: AppendOutcome) -> None:
        self._undelivered.append((int.from_bytes(draft.request_id, "big"), answer))
        if not self._late:
            self.receive()

    def _receive_outcome(self, number: int, answer: AppendOutcome) -> None:
        self._outstanding[number] -= 1
        assert self._outstanding[number] >= 0, "a send got two outcomes"
        later = isinstance(answer, Failure) and answer.retry_after is not None
        (self._refused if later else self._done).add(number)
        self._refused -= self._done


@settings(max_examples=2000, deadline=None)
@given(choices, steps, forbidden, st.sampled_from([3, 100]), st.booleans(), st.booleans(), media, missing, claimable)
@example([("busy", False)], ["send", "send", "send_too_fast"], set(), 100, True, False, set(), set(), [])
@example([], ["send_too_fast", "send", "repeat", "send"], set(), 100, False, False, set(), set(), [])
def test_sends_never_overtake_earlier_ones(
    choices: list[tuple[str, bool]],
    steps: list[str],
    forbidden: set[int],
    most: int,
    patient: bool,
    late: bool,
    media: set[int],
    missing: set[int],
    claimable: list[bool],
) -> None:
    simulation = SendSimulation(
        choices, forbidden, most, patient=patient, late=late, media=media, missing=missing, claimable=claimable
    )
    for step in steps:
        getattr(simulation, step)()
    simulation.end()
    assert not simulation.unanswered
    refused = forbidden | (media & missing)
    assert sorted(simulation.log) == [number for number in range(1, simulation.sent_count + 1) if number not in refused]
    ordered = [number for number in simulation.log if number not in simulation.unclaimed]
    assert ordered == sorted(ordered)

"""The send lane: the unanswered sends of one session to one conversation, in order across changes of the owner."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from chat_service.errors import EarlierSendRefused, OwnerUnavailable
from chat_service.model.entry import Draft
from chat_service.model.requests import RETRY_WINDOW_S, RETRYABLE, AppendOutcome
from chat_service.stream.send_gate import RecentlyAnswered, SendGate, SendKey
from servicekit.clock import CallLater, Clock
from servicekit.failure import Failure

LocateOwner = Callable[[], str]
Forward = Callable[[Draft, int, str, Callable[[AppendOutcome], None]], None]
Report = Callable[[Draft, AppendOutcome], None]
Claim = Callable[[Draft, Callable[[Draft | Failure], None]], None]
"""Claims the file that a draft refers to; the callback gets the draft to forward, or the failure, later and once."""


@dataclass(slots=True, eq=False)
class UnansweredSend:
    """One unanswered send in its slot; `attempt` is the last one in which it was forwarded, 0 if it was not yet.

    `to_forward` is the draft for the owner, with the facts of its file; None while the file is being claimed.
    `gated`: a send in an earlier slot was refused for now. If this one is refused for now as well, it is not retried
    but reported to the device.
    """

    draft: Draft
    slot: int
    enqueued_s: float
    to_forward: Draft | None
    attempt: int = 0
    gated: bool = False


@dataclass(frozen=True, slots=True)
class LaneWait:
    """The number of sends that wait, the monotonic time at which the oldest was enqueued, and the server they go to."""

    sends: int
    oldest_s: float
    target: str


class SendLane:
    """Forwards sends to the owner in order, in attempts: after a refusal an owner refuses the rest of the attempt.

    Retryable refusals are retried here, for RETRY_WINDOW_S. Any other temporary refusal is reported to the device, and
    closes the gate: each later send is refused too, until the device retries the sends in order.

    A send that refers to a file is forwarded once the file is claimed, and later ones wait behind it. If it cannot be
    claimed at present, that is reported, and the later ones pass: without a media service text is still sent.
    """

    def __init__(
        self,
        locate_owner: LocateOwner,
        forward: Forward,
        claim: Claim,
        report: Report,
        call_later: CallLater,
        clock: Clock,
        max_sends: int,
        attempts: Iterator[int],
        recently_answered: RecentlyAnswered,
    ) -> None:
        self._locate_owner = locate_owner
        self._forward = forward
        self._claim = claim
        self._report = report
        self._call_later = call_later
        self._clock = clock
        self._max_sends = max_sends
        self._sends: deque[UnansweredSend] = deque()
        self._in_flight = 0
        # Attempt numbers are unique in the session: a lane that was evicted and created again starts above the attempts
        # that owners refuse.
        self._attempts = attempts
        self._attempt = next(attempts)
        # The server that all sends of the attempt go to.
        self._target = ""
        self._attempt_failed = False
        self._advancing = False
        self._backoff_s = 0.0
        self._backing_off = False
        # Slots for the sends in the lane, and for as many refused ones that the device retries.
        self._gate = SendGate(2 * max_sends, recently_answered)

    @property
    def all_answered(self) -> bool:
        """True if no send is unanswered."""
        return not self._sends

    @property
    def waiting(self) -> LaneWait | None:
        """The sends that wait for an answer; None if there are none."""
        return LaneWait(len(self._sends), self._sends[0].enqueued_s, self._target) if self._sends else None

    @property
    def idle(self) -> bool:
        """True if the lane can be evicted: no send is unanswered and the gate is open."""
        return not self._sends and not self._gate.closed

    def enqueue(self, draft: Draft, refusal: Failure | None = None) -> None:
        """Add a send and forward it; with `refusal`, report that instead, for example because of a rate limit."""
        if self.idle:
            self._gate.clear()
        to_forward = None if draft.references.media_id else draft
        send = UnansweredSend(draft, self._gate.slot_of(_key(draft)), self._clock.monotonic(), to_forward)
        if self._gate.is_gated(send.slot):
            refusal = _earlier_send_refused()
        elif len(self._sends) >= self._max_sends:
            refusal = OwnerUnavailable("too many unanswered sends to this conversation")
        if refusal is not None:
            self._report_result(send, refusal)
            return
        self._gate.open_at(_key(draft))
        if not self._sends:
            self._target = self._locate_owner()
        self._sends.append(send)
        if to_forward is None:
            self._claim(draft, partial(self._on_claimed, send))
        if not self._attempt_failed:
            self._advance()

    def forget_refused(self, key: SendKey) -> None:
        """Release the slot of a send that was refused for good before it entered the lane, unless the lane holds it."""
        if not self._holds(key):
            self._gate.release(key)

    def _holds(self, key: SendKey) -> bool:
        return any(_key(send.draft) == key for send in self._sends)

    def _on_claimed(self, send: UnansweredSend, outcome: Draft | Failure) -> None:
        if send not in self._sends:
            # It was reported meanwhile: an earlier send was refused, or its time was up.
            return
        if isinstance(outcome, Failure):
            self._sends.remove(send)
            if not self._holds(_key(send.draft)):
                self._gate.drop(_key(send.draft))
            self._report(send.draft, outcome)
        else:
            send.to_forward = outcome
        if not self._attempt_failed:
            self._advance()

    def _advance(self) -> None:
        """Forward new sends and begin due attempts.

        An owner in this process may reply before `forward` returns, and the reply calls this function again. Such a
        call returns at once, and the loop of the outer call continues the work.
        """
        if self._advancing:
            return
        self._advancing = True
        try:
            self._forward_new()
            while self._attempt_failed and not self._in_flight and not self._backing_off:
                self._begin_attempt()
                self._forward_new()
        finally:
            self._advancing = False

    def _forward_new(self) -> None:
        for send in list(self._sends):
            if self._attempt_failed or send.to_forward is None:
                return
            if send.attempt < self._attempt:
                send.attempt = self._attempt
                self._in_flight += 1
                self._forward(send.to_forward, send.attempt, self._target, partial(self._on_result, send))

    def _on_result(self, send: UnansweredSend, outcome: AppendOutcome) -> None:
        self._in_flight -= 1
        if not isinstance(outcome, Failure) or outcome.retry_after is None:
            self._finish(send, outcome)
        else:
            self._attempt_failed = True
            if send.gated:
                self._finish(send, _earlier_send_refused())
            elif outcome.reason in RETRYABLE:
                self._backoff_s = max(self._backoff_s, outcome.retry_after)
            elif outcome.reason != EarlierSendRefused.default_reason:
                self._finish(send, outcome)
        if self._attempt_failed and not self._in_flight:
            self._advance()

    def _finish(self, send: UnansweredSend, outcome: AppendOutcome) -> None:
        self._sends.remove(send)
        self._report_result(send, outcome)

    def _report_result(self, send: UnansweredSend, outcome: AppendOutcome) -> None:
        self._report(send.draft, outcome)
        key = _key(send.draft)
        if not isinstance(outcome, Failure) or outcome.retry_after is None:
            self._gate.release(key)
        elif self._gate.close_at(key):
            self._gate_after(send)

    def _gate_after(self, refused: UnansweredSend) -> None:
        later = [send for send in self._sends if send.slot > refused.slot and not send.gated]
        for send in later:
            send.gated = True
        for send in later:
            if send.attempt < self._attempt:
                self._finish(send, _earlier_send_refused())

    def _begin_attempt(self) -> None:
        """Begin the next attempt with the sends that are left, now that no send of the failed one is in flight."""
        self._attempt = next(self._attempts)
        for send in [send for send in self._sends if send.gated]:
            self._finish(send, _earlier_send_refused())
        if self._backoff_s and self._sends:
            self._backing_off = True
            self._call_later(self._backoff_s, self._resume)
        else:
            self._restart()

    def _resume(self) -> None:
        self._restart()
        self._advance()

    def _restart(self) -> None:
        self._backing_off, self._attempt_failed, self._backoff_s = False, False, 0.0
        if self._sends and self._clock.monotonic() - self._sends[0].enqueued_s > RETRY_WINDOW_S:
            self._give_up()
        else:
            self._target = self._locate_owner()

    def _give_up(self) -> None:
        sends, self._sends = self._sends, deque()
        for send in sends:
            # The report of the first send closes the gate for those after it.
            gated = self._gate.is_gated(send.slot)
            self._report_result(send, _earlier_send_refused() if gated else _not_appended_in_time())


def _earlier_send_refused() -> EarlierSendRefused:
    return EarlierSendRefused("an earlier send to this conversation was refused; send that one first")


def _not_appended_in_time() -> OwnerUnavailable:
    return OwnerUnavailable(f"the send was not appended within {RETRY_WINDOW_S:.0f} s; send it again")


def _key(draft: Draft) -> SendKey:
    return draft.conversation_id, draft.request_id

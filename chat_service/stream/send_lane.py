"""A lane: the unanswered sends of one session to one conversation, which keep their order whoever owns it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from chat_service.errors import EarlierSendRefused, OwnerUnavailable
from chat_service.model.entry import Draft
from chat_service.model.requests import RETRY_WINDOW_S, RETRYABLE, Appended, AppendOutcome
from chat_service.stream.send_gate import Key, RecentlyAnswered, SendGate
from servicekit.clock import Clock
from servicekit.failure import Failure

LocateOwner = Callable[[], str]
Forward = Callable[[Draft, int, str, Callable[[AppendOutcome], None]], None]
Report = Callable[[Draft, AppendOutcome], None]
CallLater = Callable[[float, Callable[[], None]], None]


@dataclass(slots=True, eq=False)
class UnansweredSend:
    """One unanswered send at its place; `attempt` is the one it was last forwarded in, 0 if it was not.

    `barred`: one before it was refused for now, and what comes back of it goes back to the device as well.
    """

    draft: Draft
    slot: int
    since: float
    attempt: int = 0
    gated: bool = False


class SendLane:
    """Forwards sends in order. While it holds any, its attempt tells which of them an owner may still take.

    A send that is refused for now and that the edge cannot mend goes back to the device, and closes a gate: what
    comes after it is refused as well, and closes a gate of its own, until it comes again.
    """

    def __init__(
        self,
        locate: LocateOwner,
        forward: Forward,
        told: Report,
        later: CallLater,
        clock: Clock,
        most: int,
        attempts: Iterator[int],
        decided: RecentlyAnswered,
    ) -> None:
        self._locate = locate
        self._forward = forward
        self._report = told
        self._call_later = later
        self._clock = clock
        self._max_sends = most
        self._sends: deque[UnansweredSend] = deque()
        self._in_flight = 0
        # Those of a session never repeat, so a lane that was forgotten in between begins above what was refused.
        self._attempts = attempts
        self._attempt = next(attempts)
        # Where the sends go; the same server for all of an attempt.
        self._target = ""
        self._attempt_failed = False
        self._advancing = False
        self._backoff = 0.0
        self._backing_off = False
        # Of as many sends as may be here, and as many again that were refused and come back.
        self._gate = SendGate(2 * most, decided)

    @property
    def all_answered(self) -> bool:
        """Whether no send is unanswered."""
        return not self._sends

    @property
    def idle(self) -> bool:
        """Whether nothing is lost if the lane is forgotten."""
        return not self._sends and not self._gate.closed

    def enqueue(self, draft: Draft, refusal: Failure | None = None) -> None:
        """Another send; `refusal` says why it cannot be taken now, for example its rate."""
        if self.idle:
            self._gate.clear()
        send = UnansweredSend(draft, self._gate.slot_of(_key(draft)), self._clock.monotonic())
        if self._gate.is_gated(send.slot):
            refusal = _earlier_send_refused()
        elif len(self._sends) >= self._max_sends:
            refusal = OwnerUnavailable("too many sends to this conversation are unanswered")
        if refusal is not None:
            self._report_result(send, refusal)
            return
        self._gate.open_at(_key(draft))
        if not self._sends:
            self._target = self._locate()
        self._sends.append(send)
        if not self._attempt_failed:
            self._advance()

    def forget_refused(self, key: Key) -> None:
        """A send was refused for good before it got here: unless it is here as well, nothing waits for it."""
        if all(_key(each.draft) != key for each in self._sends):
            self._gate.release(key)

    def _advance(self) -> None:
        """Forward what is new. An owner here answers at once: what that leads to is done afterwards, not within."""
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
            if self._attempt_failed:
                return
            if send.attempt < self._attempt:
                send.attempt = self._attempt
                self._in_flight += 1
                self._forward(send.draft, send.attempt, self._target, partial(self._on_result, send))

    def _on_result(self, send: UnansweredSend, answer: AppendOutcome) -> None:
        self._in_flight -= 1
        if isinstance(answer, Appended) or answer.retry_after is None:
            self._finish(send, answer)
        else:
            self._attempt_failed = True
            if send.gated:
                self._finish(send, _earlier_send_refused())
            elif answer.reason in RETRYABLE:
                self._backoff = max(self._backoff, answer.retry_after)
            elif answer.reason != EarlierSendRefused.default_reason:
                self._finish(send, answer)
        if self._attempt_failed and not self._in_flight:
            self._advance()

    def _finish(self, send: UnansweredSend, answer: AppendOutcome) -> None:
        self._sends.remove(send)
        self._report_result(send, answer)

    def _report_result(self, send: UnansweredSend, answer: AppendOutcome) -> None:
        self._report(send.draft, answer)
        key = _key(send.draft)
        if isinstance(answer, Appended) or answer.retry_after is None:
            self._gate.release(key)
        elif self._gate.close_at(key):
            self._gate_after(send)

    def _gate_after(self, send: UnansweredSend) -> None:
        later = [each for each in self._sends if each.slot > send.slot and not each.gated]
        for each in later:
            each.gated = True
        for each in later:
            if each.attempt < self._attempt:
                self._finish(each, _earlier_send_refused())

    def _begin_attempt(self) -> None:
        """All that was under way is answered: what is left goes again, in order, as another attempt."""
        self._attempt = next(self._attempts)
        for send in [each for each in self._sends if each.gated]:
            self._finish(send, _earlier_send_refused())
        if self._backoff and self._sends:
            self._backing_off = True
            self._call_later(self._backoff, self._resume)
        else:
            self._restart()

    def _resume(self) -> None:
        self._restart()
        self._advance()

    def _restart(self) -> None:
        self._backing_off, self._attempt_failed, self._backoff = False, False, 0.0
        if self._sends and self._clock.monotonic() - self._sends[0].since > RETRY_WINDOW_S:
            self._give_up()
        else:
            self._target = self._locate()

    def _give_up(self) -> None:
        sends, self._sends = self._sends, deque()
        for send in sends:
            behind = self._gate.is_gated(send.slot)
            self._report_result(
                send,
                _earlier_send_refused() if behind else OwnerUnavailable("the conversation cannot be written to now"),
            )


def _earlier_send_refused() -> EarlierSendRefused:
    return EarlierSendRefused("an earlier send to this conversation was refused; send that one first")


def _key(draft: Draft) -> Key:
    return draft.conversation_id, draft.request_id

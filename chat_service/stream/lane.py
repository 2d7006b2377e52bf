"""A lane: the unanswered sends of one session to one conversation, which keep their order whoever owns it."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count

from chat_service.errors import EarlierSendRefused, OwnerUnavailable
from chat_service.model.answer import MENDED, PATIENCE_S, Answer, Appended
from chat_service.model.entry import Draft
from servicekit.clock import Clock
from servicekit.failure import Failure

Locate = Callable[[], str]
Forward = Callable[[Draft, int, str, Callable[[Answer], None]], None]
Told = Callable[[Draft, Answer], None]
Later = Callable[[float, Callable[[], None]], None]


@dataclass(slots=True, eq=False)
class Send:
    """One unanswered send at its place; `attempt` is the one it was last forwarded in, 0 if it was not."""

    draft: Draft
    place: int
    since: float
    attempt: int = 0


class Lane:
    """Forwards sends in order. While it holds any, its attempt tells which of them an owner may still take.

    A send that is refused for now and that the edge cannot mend goes back to the device, and closes a gate: what
    comes after it is refused until it comes again.
    """

    def __init__(
        self,
        locate: Locate,
        forward: Forward,
        told: Told,
        later: Later,
        clock: Clock,
        most: int,
        attempts: Iterator[int],
    ) -> None:
        self._locate = locate
        self._forward = forward
        self._told = told
        self._later = later
        self._clock = clock
        self._most = most
        self._sends: deque[Send] = deque()
        self._under_way = 0
        # Those of a session never repeat, so a lane that was forgotten in between begins above what was refused.
        self._attempts = attempts
        self._attempt = next(attempts)
        # Where the sends go; the same server for all of an attempt.
        self._target = ""
        self._broken = False
        self._pause = 0.0
        self._waits = False
        self._places = count()
        # What was refused for now, in the order of places: each comes again, to its place, the first one first.
        self._gates: list[Send] = []

    @property
    def answered(self) -> bool:
        """Whether no send is unanswered."""
        return not self._sends

    @property
    def at_rest(self) -> bool:
        """Whether nothing is lost if the lane is forgotten."""
        return not self._sends and not self._gates

    def submit(self, draft: Draft, refusal: Failure | None = None) -> None:
        """Another send; `refusal` says why it cannot be taken now, for example its rate."""
        send = Send(draft, next(self._places), self._clock.monotonic())
        if self._gates and draft.request_id != self._gates[0].draft.request_id:
            refusal = EarlierSendRefused("an earlier send to this conversation was refused; send that one first")
        elif len(self._sends) >= self._most:
            refusal = OwnerUnavailable("too many sends to this conversation are unanswered")
        if refusal is not None:
            # What comes again and is refused again keeps its place.
            if not self._gates:
                self._close_gate(send, refusal)
            self._told(draft, refusal)
            return
        if self._gates:
            send.place = self._gates.pop(0).place
        if not self._sends:
            self._target = self._locate()
        self._sends.append(send)
        if len(self._sends) > 1 and self._sends[-2].place > send.place:
            self._sends = deque(sorted(self._sends, key=_place))
        if not self._broken:
            self._forward_all()

    def _forward_all(self) -> None:
        for send in list(self._sends):
            if self._broken:
                return
            if send.attempt < self._attempt:
                send.attempt = self._attempt
                self._under_way += 1
                self._forward(send.draft, send.attempt, self._target, partial(self._answered, send))

    def _answered(self, send: Send, answer: Answer) -> None:
        self._under_way -= 1
        if isinstance(answer, Appended) or answer.retry_after is None:
            self._decide(send, answer)
        else:
            self._broken = True
            follows_a_mended_one = answer.reason == EarlierSendRefused.default_reason and not self._gates
            if answer.reason in MENDED:
                self._pause = max(self._pause, answer.retry_after)
            elif not follows_a_mended_one:
                self._decide(send, answer)
        if self._broken and not self._under_way:
            self._mend()

    def _decide(self, send: Send, answer: Answer) -> None:
        self._sends.remove(send)
        self._tell(send, answer)

    def _tell(self, send: Send, answer: Answer) -> None:
        if isinstance(answer, Failure):
            self._close_gate(send, answer)
        self._told(send.draft, answer)

    def _close_gate(self, send: Send, failure: Failure) -> None:
        """Let nothing pass `send` if it was refused for now, and for a reason of its own."""
        if failure.retry_after is not None and failure.reason != EarlierSendRefused.default_reason:
            insort(self._gates, send, key=_place)

    def _mend(self) -> None:
        """All that was under way is answered: send the rest again, in order, as another attempt."""
        self._attempt = next(self._attempts)
        if self._pause and self._sends and not self._waits:
            self._waits = True
            self._later(self._pause, self._go_on)
        elif not self._waits:
            self._go_on()

    def _go_on(self) -> None:
        self._waits, self._broken, self._pause = False, False, 0.0
        if self._sends and self._clock.monotonic() - self._sends[0].since > PATIENCE_S:
            self._give_up()
        else:
            self._target = self._locate()
            self._forward_all()

    def _give_up(self) -> None:
        sends, self._sends = self._sends, deque()
        for number, send in enumerate(sends):
            later = EarlierSendRefused("an earlier send to this conversation was refused; send that one first")
            self._tell(send, later if number else OwnerUnavailable("the conversation cannot be written to now"))


def _place(send: Send) -> int:
    return send.place

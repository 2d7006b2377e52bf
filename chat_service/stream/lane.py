"""A lane: the unanswered sends of one session to one conversation, which keep their order whoever owns it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from chat_service.errors import EarlierSendRefused, OwnerUnavailable
from chat_service.model.answer import MENDED, PATIENCE_S, Answer, Appended
from chat_service.model.entry import Draft
from chat_service.stream.places import Decided, Key, Places
from servicekit.clock import Clock
from servicekit.failure import Failure

Locate = Callable[[], str]
Forward = Callable[[Draft, int, str, Callable[[Answer], None]], None]
Told = Callable[[Draft, Answer], None]
Later = Callable[[float, Callable[[], None]], None]


@dataclass(slots=True, eq=False)
class Send:
    """One unanswered send at its place; `attempt` is the one it was last forwarded in, 0 if it was not.

    `barred`: one before it was refused for now, and what comes back of it goes back to the device as well.
    """

    draft: Draft
    place: int
    since: float
    attempt: int = 0
    barred: bool = False


class Lane:
    """Forwards sends in order. While it holds any, its attempt tells which of them an owner may still take.

    A send that is refused for now and that the edge cannot mend goes back to the device, and closes a gate: what
    comes after it is refused as well, and closes a gate of its own, until it comes again.
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
        decided: Decided,
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
        self._advancing = False
        self._pause = 0.0
        self._waits = False
        # Of as many sends as may be here, and as many again that were refused and come back.
        self._places = Places(2 * most, decided)

    @property
    def answered(self) -> bool:
        """Whether no send is unanswered."""
        return not self._sends

    @property
    def at_rest(self) -> bool:
        """Whether nothing is lost if the lane is forgotten."""
        return not self._sends and not self._places.gated

    def submit(self, draft: Draft, refusal: Failure | None = None) -> None:
        """Another send; `refusal` says why it cannot be taken now, for example its rate."""
        if self.at_rest:
            self._places.forget()
        send = Send(draft, self._places.of(_key(draft)), self._clock.monotonic())
        if self._places.barred(send.place):
            refusal = _behind()
        elif len(self._sends) >= self._most:
            refusal = OwnerUnavailable("too many sends to this conversation are unanswered")
        if refusal is not None:
            self._tell(send, refusal)
            return
        self._places.open(_key(draft))
        if not self._sends:
            self._target = self._locate()
        self._sends.append(send)
        if not self._broken:
            self._advance()

    def settle(self, key: Key) -> None:
        """A send was refused for good before it got here: unless it is here as well, nothing waits for it."""
        if all(_key(each.draft) != key for each in self._sends):
            self._places.free(key)

    def _advance(self) -> None:
        """Forward what is new. An owner here answers at once: what that leads to is done afterwards, not within."""
        if self._advancing:
            return
        self._advancing = True
        try:
            self._forward_new()
            while self._broken and not self._under_way and not self._waits:
                self._begin_attempt()
                self._forward_new()
        finally:
            self._advancing = False

    def _forward_new(self) -> None:
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
            if send.barred:
                self._decide(send, _behind())
            elif answer.reason in MENDED:
                self._pause = max(self._pause, answer.retry_after)
            elif answer.reason != EarlierSendRefused.default_reason:
                self._decide(send, answer)
        if self._broken and not self._under_way:
            self._advance()

    def _decide(self, send: Send, answer: Answer) -> None:
        self._sends.remove(send)
        self._tell(send, answer)

    def _tell(self, send: Send, answer: Answer) -> None:
        self._told(send.draft, answer)
        key = _key(send.draft)
        if isinstance(answer, Appended) or answer.retry_after is None:
            self._places.free(key)
        elif self._places.close(key):
            self._bar_after(send)

    def _bar_after(self, send: Send) -> None:
        later = [each for each in self._sends if each.place > send.place and not each.barred]
        for each in later:
            each.barred = True
        for each in later:
            if each.attempt < self._attempt:
                self._decide(each, _behind())

    def _begin_attempt(self) -> None:
        """All that was under way is answered: what is left goes again, in order, as another attempt."""
        self._attempt = next(self._attempts)
        for send in [each for each in self._sends if each.barred]:
            self._decide(send, _behind())
        if self._pause and self._sends:
            self._waits = True
            self._later(self._pause, self._go_on)
        else:
            self._begin_anew()

    def _go_on(self) -> None:
        self._begin_anew()
        self._advance()

    def _begin_anew(self) -> None:
        self._waits, self._broken, self._pause = False, False, 0.0
        if self._sends and self._clock.monotonic() - self._sends[0].since > PATIENCE_S:
            self._give_up()
        else:
            self._target = self._locate()

    def _give_up(self) -> None:
        sends, self._sends = self._sends, deque()
        for send in sends:
            behind = self._places.barred(send.place)
            self._tell(send, _behind() if behind else OwnerUnavailable("the conversation cannot be written to now"))


def _behind() -> EarlierSendRefused:
    return EarlierSendRefused("an earlier send to this conversation was refused; send that one first")


def _key(draft: Draft) -> Key:
    return draft.conversation_id, draft.request_id

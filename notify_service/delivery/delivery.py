"""The delivery of one event or job: it is decided, its pushes are sent, and what is left is returned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
from prometheus_client import Counter

from notify_service.delivery.availability import repeat_until_available
from notify_service.delivery.decider import Decider, UserPushes
from notify_service.delivery.remainder import Remainder
from notify_service.delivery.sender import PushSender, SendResult
from notify_service.delivery.withdrawals import Withdrawals
from notify_service.model.decision import PushDecision, PushOutcome
from notify_service.model.events import PushEvent, PushJob, QueuedEntries, QueuedRead
from notify_service.model.ports import ShownStore, TraceStore
from notify_service.model.push import Notification
from notify_service.model.registration import Registration
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.tasks import gather_limited

# Pushes of one event that are sent at a time.
MAX_CONCURRENT_SENDS: Final = 64

_DECISIONS: Final = Counter("parley_push_decisions", "Decisions about pushes by outcome", ["outcome"])

log = structlog.get_logger("notify.delivery")


class Delivery:
    """Delivers events. Every method raises StoreUnavailable and ServiceUnavailable; then it may be called again."""

    def __init__(
        self,
        decider: Decider,
        sender: PushSender,
        withdrawals: Withdrawals,
        shown: ShownStore,
        traces: TraceStore,
        clock: Clock,
    ) -> None:
        self._decider = decider
        self._sender = sender
        self._withdrawals = withdrawals
        self._shown = shown
        self._traces = traces
        self._clock = clock

    async def deliver(self, event: PushEvent, event_id: str = "") -> Remainder:
        """Deliver an event, and return what is left of it.

        With its id in the queue, users to whom another event pushed the same entry are not notified again.
        """
        left = Remainder(self._clock.now_ms())
        match event:
            case QueuedEntries():
                await self._deliver_entries(event, left, event_id=event_id)
                # What was sent is not sent again because of a failure here.
                withdraw = partial(self._withdrawals.withdraw_deleted, event, left)
                await repeat_until_available("withdraw", withdraw, self._clock)
            case QueuedRead():
                await self._withdrawals.withdraw(event, left)
        return left

    async def deliver_again(self, job: PushJob) -> Remainder:
        """Deliver a job, which is decided again, and return what is left of it."""
        left = Remainder(self._clock.now_ms(), job)
        match job.event:
            case QueuedEntries():
                await self._deliver_entries(job.event, left, job.device_id)
            case QueuedRead():
                await self._withdrawals.withdraw_again(job.event, job.device_id, left)
        return left

    async def _deliver_entries(
        self, event: QueuedEntries, left: Remainder, device_id: str = "", event_id: str = ""
    ) -> None:
        decided = await self._decider.decide(event, device_id)
        decisions = list(decided.refusals)
        pushes = list[tuple[UserPushes, Registration, Notification]]()
        seqs = {user.user_id: user.entry.seq for user in decided.pushes}
        read_seqs = {user.user_id: user.read_seq for user in decided.pushes}
        raised, repeated = await self._shown.raise_shown(event.conversation_id, seqs, read_seqs, event_id)
        for user in decided.pushes:
            if user.user_id in raised:
                pushes += [(user, *each) for each in user.notifications]
            elif user.user_id not in repeated:
                decisions.append((user.user_id, self._decide(event, user, SendResult(PushOutcome.SUPERSEDED))))

        async def send(push: tuple[UserPushes, Registration, Notification]) -> SendResult:
            _, registration, notification = push
            return await self._sender.send(registration, notification, event.queued_ms)

        results = await gather_limited(send, pushes, limit=MAX_CONCURRENT_SENDS)
        for (user, registration, _), result in zip(pushes, results, strict=True):
            left.add(event.only(user.entry, user.user_id), registration, result)
            if left.previous is None or result.outcome is not PushOutcome.RETRYING:
                # The trace has one line for all attempts that failed, so that it keeps other pushes.
                decisions.append((user.user_id, self._decide(event, user, result, registration)))
        await self._trace(decisions)
        pushed = {user_id: seq for user_id, seq in seqs.items() if user_id in raised}
        # What was sent is not sent again because of a failure here.
        withdraw = partial(self._withdrawals.withdraw_overtaken, event.conversation_id, pushed, left)
        await repeat_until_available("withdraw", withdraw, self._clock)
        if left.previous is not None:
            await self._withdraw_read(event, decisions, left)

    async def _withdraw_read(
        self, event: QueuedEntries, decisions: Sequence[tuple[str, PushDecision]], left: Remainder
    ) -> None:
        """Withdraw from the other devices what was read before it could be sent to one of them."""
        for user_id, decision in decisions:
            if decision.outcome is PushOutcome.READ:
                read = QueuedRead(user_id, event.conversation_id, decision.seq, left.now_ms)
                await self._withdrawals.withdraw(read, left)

    def _decide(
        self, event: QueuedEntries, user: UserPushes, result: SendResult, registration: Registration | None = None
    ) -> PushDecision:
        return PushDecision(
            self._clock.now_ms(),
            event.conversation_id,
            user.entry.seq,
            result.outcome,
            registration.device_id if registration else "",
            registration.provider if registration else None,
            result.reason,
        )

    async def _trace(self, decisions: Sequence[tuple[str, PushDecision]]) -> None:
        for _, decision in decisions:
            _DECISIONS.labels(decision.outcome.name.lower()).inc()
        try:
            await self._traces.add(decisions)
        except StoreUnavailable as failure:
            log.info("decisions not traced", error=failure.message)

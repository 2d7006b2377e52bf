"""The dispatcher of pushes: it decides an event or job, sends its pushes, and returns those that failed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog
from prometheus_client import Counter

from notify_service.delivery.decider import Decider, UserPushes
from notify_service.delivery.failed_pushes import FailedPushes
from notify_service.delivery.sender import PushSender, SendResult
from notify_service.delivery.withdrawals import Withdrawals
from notify_service.model.decision import PushDecision, PushOutcome
from notify_service.model.events import PushEvent, PushJob, QueuedEntries, QueuedRead
from notify_service.model.ports import PushedEntryStore, TraceStore
from notify_service.model.push import Notification
from notify_service.model.registration import Registration
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.retry import SERVICE_ERRORS, retry_while_unavailable
from servicekit.tasks import gather_limited

# Pushes of one event that are sent at a time.
MAX_CONCURRENT_SENDS: Final = 64
# Many events wait at once while chat is unavailable.
MAX_PAUSE_S: Final = 5.0
# A push that waits for its turn for longer is decided again: its token may have moved to another user meanwhile.
DECISION_LIFETIME_S: Final = 10.0

_DECISIONS: Final = Counter("parley_push_decisions", "Decisions about pushes by outcome", ["outcome"])

log = structlog.get_logger("notify.delivery")


class PushDispatcher:
    """Delivers events and jobs: it decides and sends their pushes.

    Every method raises StoreUnavailable and ServiceUnavailable; then it may be called again.
    """

    def __init__(
        self,
        decider: Decider,
        sender: PushSender,
        withdrawals: Withdrawals,
        pushed_entries: PushedEntryStore,
        traces: TraceStore,
        clock: Clock,
    ) -> None:
        self._decider = decider
        self._sender = sender
        self._withdrawals = withdrawals
        self._pushed_entries = pushed_entries
        self._traces = traces
        self._clock = clock

    async def deliver(self, event: PushEvent, event_id: str = "") -> FailedPushes:
        """Deliver an event, and return those of its pushes that failed.

        With its id in the queue, users to whom another event pushed the same entry are not notified again.
        """
        failed = FailedPushes(self._clock.now_ms())
        match event:
            case QueuedEntries():
                await self._deliver_entries(event, failed, event_id=event_id)
                # What was sent is not sent again because of a failure here.
                withdraw = partial(self._withdrawals.withdraw_deleted, event, failed)
                await retry_while_unavailable(
                    "withdraw_deleted", withdraw, errors=SERVICE_ERRORS, max_pause_s=MAX_PAUSE_S
                )
            case QueuedRead():
                await self._withdrawals.withdraw(event, failed)
        return failed

    async def deliver_job(self, job: PushJob) -> FailedPushes:
        """Deliver a job, which is decided again, and return those of its pushes that failed."""
        failed = FailedPushes(self._clock.now_ms(), job)
        match job.event:
            case QueuedEntries():
                await self._deliver_entries(job.event, failed, job.device_id)
            case QueuedRead():
                await self._withdrawals.withdraw_again(job.event, job.device_id, failed)
        return failed

    async def _deliver_entries(
        self, event: QueuedEntries, failed: FailedPushes, device_id: str = "", event_id: str = ""
    ) -> None:
        decided = await self._decider.decide(event, device_id)
        valid_until = self._clock.monotonic() + DECISION_LIFETIME_S
        decisions = list(decided.refusals)
        pushes = list[tuple[UserPushes, Registration, Notification]]()
        seqs = {user.user_id: user.entry.seq for user in decided.pushes}
        read_seqs = {user.user_id: user.read_seq for user in decided.pushes}
        recorded, repeated = await self._pushed_entries.record(event.conversation_id, seqs, read_seqs, event_id)
        for user in decided.pushes:
            if user.user_id in recorded:
                pushes += [(user, *each) for each in user.notifications]
            elif user.user_id not in repeated:
                decisions.append((user.user_id, self._decide(event, user, SendResult(PushOutcome.SUPERSEDED))))

        async def send(push: tuple[UserPushes, Registration, Notification]) -> SendResult:
            _, registration, notification = push
            return await self._sender.send(registration, notification, event.queued_ms, valid_until)

        results = await gather_limited(send, pushes, limit=MAX_CONCURRENT_SENDS)
        for (user, registration, _), result in zip(pushes, results, strict=True):
            failed.add(event.only(user.entry, user.user_id), registration, result)
            if failed.previous is None or result.outcome is not PushOutcome.RETRYING:
                # The trace has one line for all attempts that failed, so that it keeps other pushes.
                decisions.append((user.user_id, self._decide(event, user, result, registration)))
        await self._trace(decisions)
        pushed = {user_id: seq for user_id, seq in seqs.items() if user_id in recorded}
        # What was sent is not sent again because of a failure here.
        withdraw = partial(self._withdrawals.withdraw_overtaken, event.conversation_id, pushed, failed)
        await retry_while_unavailable("withdraw_overtaken", withdraw, errors=SERVICE_ERRORS, max_pause_s=MAX_PAUSE_S)
        if failed.previous is not None:
            await self._withdraw_read(event, decisions, failed)

    async def _withdraw_read(
        self, event: QueuedEntries, decisions: Sequence[tuple[str, PushDecision]], failed: FailedPushes
    ) -> None:
        """Withdraw from the other devices what was read before it could be sent to one of them."""
        for user_id, decision in decisions:
            if decision.outcome is PushOutcome.READ:
                read = QueuedRead(user_id, event.conversation_id, decision.seq, failed.now_ms)
                await self._withdrawals.withdraw(read, failed)

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

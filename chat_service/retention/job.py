"""The background job of every server that sweeps the conversations it owns as they become due."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Counter

from chat_service.model.retention import RetentionPolicy
from chat_service.retention.ports import RetentionStore
from chat_service.retention.sweep import RetentionSweep, SweepResult
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.tasks import cancel_requested

SWEEP_BATCH: Final = 100
# Pause after each sweep: bounds the sweeps a second while many conversations are due.
SWEEP_PAUSE_S: Final = 0.02

_conversations = Counter("parley_retention_conversations", "Conversations swept for expired content")
_removed = Counter(
    "parley_retention_entries", "Entries that retention removed, their content or the whole stub", ["what"]
)

log = structlog.get_logger("retention")


class RetentionJob:
    """Sweeps due conversations, one at a time. `owns` returns True for the conversations of this server."""

    def __init__(
        self,
        store: RetentionStore,
        sweep: RetentionSweep,
        policy: RetentionPolicy,
        clock: Clock,
        owns: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._sweep = sweep
        self._policy = policy
        self._clock = clock
        self._owns = owns

    async def run(self) -> None:
        """Sweep until cancelled; while nothing is due, pause for the policy's interval."""
        while not cancel_requested():
            swept = 0
            try:
                swept = await self.sweep_due()
            except Failure as failure:
                log.warning("listing of due conversations failed", error=failure.message)
            except Exception:
                log.exception("listing of due conversations failed")
            if not swept:
                await self._clock.sleep(self._policy.sweep_interval_s)

    async def sweep_due(self) -> int:
        """Sweep at most SWEEP_BATCH due conversations and return how many were swept. Raises StoreUnavailable."""
        due = await self._store.list_due(self._clock.now_ms(), self._policy.default, self._owns, SWEEP_BATCH)
        swept = 0
        for each in due:
            try:
                result = await self._sweep.sweep(each)
            except Failure as failure:
                # The claim stands until it expires; the next sweep then continues where this one stopped.
                log.warning("retention sweep failed", conversation_id=each.conversation_id, error=failure.message)
                continue
            except Exception:
                log.exception("retention sweep failed", conversation_id=each.conversation_id)
                continue
            if result is not None:
                swept += 1
                _record(each.conversation_id, result)
            await self._clock.sleep(SWEEP_PAUSE_S)
        return swept


def _record(conversation_id: str, result: SweepResult) -> None:
    _conversations.inc()
    _removed.labels("content").inc(result.contents)
    _removed.labels("whole").inc(result.stubs)
    if result.contents or result.stubs:
        log.info(
            "content removed",
            conversation_id=conversation_id,
            first_seq=result.first_seq,
            contents=result.contents,
            entries=result.stubs,
        )

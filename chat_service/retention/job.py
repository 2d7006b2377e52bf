"""The job that looks after retention on every server, at its own conversations, as they fall due."""

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
# Between two looks: at most so many a second, whatever has piled up.
SWEEP_PAUSE_S: Final = 0.02

_conversations = Counter("parley_retention_conversations", "Conversations looked at for what may go")
_removed = Counter("parley_retention_entries", "Entries whose content went, and entries that went as a whole", ["what"])

log = structlog.get_logger("retention")


class RetentionJob:
    """`mine` tells whether a conversation is this server's to look after."""

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
        """Look until cancelled, and rest while nothing is due."""
        while not cancel_requested():
            looked = 0
            try:
                looked = await self.sweep_due()
            except Failure as failure:
                log.warning("cannot look for what may go", error=failure.message)
            except Exception:
                log.exception("cannot look for what may go")
            if not looked:
                await self._clock.sleep(self._policy.sweep_interval_s)

    async def sweep_due(self) -> int:
        """Look at a portion of what is due; how many were looked at. Raises StoreUnavailable."""
        due = await self._store.list_due(self._clock.now_ms(), self._policy.default, self._owns, SWEEP_BATCH)
        looked = 0
        for each in due:
            try:
                removed = await self._sweep.sweep(each)
            except Failure as failure:
                # It is held until later, and then taken up where it was left.
                log.warning("a look failed", conversation_id=each.conversation_id, error=failure.message)
                continue
            except Exception:
                log.exception("a look failed", conversation_id=each.conversation_id)
                continue
            if removed is not None:
                looked += 1
                _record(each.conversation_id, removed)
            await self._clock.sleep(SWEEP_PAUSE_S)
        return looked


def _record(conversation_id: str, removed: SweepResult) -> None:
    _conversations.inc()
    _removed.labels("content").inc(removed.contents)
    _removed.labels("whole").inc(removed.stubs)
    if removed.contents or removed.stubs:
        log.info(
            "content removed",
            conversation_id=conversation_id,
            first_seq=removed.first_seq,
            contents=removed.contents,
            entries=removed.stubs,
        )

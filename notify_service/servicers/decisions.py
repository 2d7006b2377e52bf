"""The last decisions about pushes to a user: those of notify, and the unpushed entry of chat."""

from __future__ import annotations

import structlog

from notify_service.model.decision import MAX_DECISIONS, PushDecision
from notify_service.model.ports import Directory, TraceStore
from servicekit.failure import Failure

log = structlog.get_logger("notify.decisions")


class DecisionReader:
    """Reads the decisions about pushes to users."""

    def __init__(self, traces: TraceStore, directory: Directory) -> None:
        self._traces = traces
        self._directory = directory

    async def read(self, user_id: str) -> list[PushDecision]:
        """Return at most MAX_DECISIONS decisions, the newest first. Raise StoreUnavailable.

        Chat queues nothing for a user with a device in the foreground; the last such entry is among them if chat
        answers.
        """
        decisions = await self._traces.find(user_id)
        unpushed = await self._find_unpushed(user_id)
        if unpushed is not None:
            older = (index for index, each in enumerate(decisions) if each.time_ms <= unpushed.time_ms)
            decisions.insert(next(older, len(decisions)), unpushed)
        return decisions[:MAX_DECISIONS]

    async def _find_unpushed(self, user_id: str) -> PushDecision | None:
        try:
            return await self._directory.find_unpushed(user_id)
        except Failure as failure:
            log.warning("devices in the foreground unknown", error=failure.message)
            return None

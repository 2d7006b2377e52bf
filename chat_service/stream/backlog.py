"""A device that falls behind: what did not fit is looked for again, and who reads nothing at all is cut off."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from chat_service.stream.outbox import Outbox

log = structlog.get_logger("stream.backlog")

Later = Callable[[float, Callable[[], None]], object]


class SlowConsumerDetector:
    """Watches an outbox that had no room: within `patience` seconds the device must have read something."""

    def __init__(self, outbox: Outbox, user_id: str, patience: float, later: Later) -> None:
        self._outbox = outbox
        self._user_id = user_id
        self._patience = patience
        self._call_later = later
        self._watched = False

    def on_overflow(self) -> None:
        """Something did not fit."""
        if not self._watched:
            self._watched = True
            taken = self._outbox.frames_taken
            self._call_later(self._patience, lambda: self._check_progress(taken))

    def _check_progress(self, taken: int) -> None:
        self._watched = False
        if self._outbox.full:
            if self._outbox.frames_taken == taken:
                log.warning("device does not read", user_id=self._user_id)
                self._outbox.cut_off()
            else:
                self.on_overflow()

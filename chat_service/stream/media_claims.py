"""The claims of one session: the files of its sends that wait, claimed in batches, one call at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextvars import Context
from typing import Final

import structlog

from chat_service.model.media import ClaimOutcome, MediaCatalog
from servicekit.failure import INTERNAL_ERROR, Failure

# Files of one call.
MAX_BATCH: Final = 100

OnClaimed = Callable[[ClaimOutcome], None]

log = structlog.get_logger("stream.media")


class MediaClaimQueue:
    """Claims files for a user. What is added during a call is claimed by the next one, each file once in a call.

    No task runs while nothing waits, because most sessions send no media.
    """

    __slots__ = ("_catalog", "_task", "_unanswered", "_user_id", "_waiting")

    def __init__(self, user_id: str, catalog: MediaCatalog) -> None:
        self._user_id = user_id
        self._catalog = catalog
        self._waiting: list[tuple[str, OnClaimed]] = []
        self._unanswered = 0
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return the number of claims that are not answered."""
        return self._unanswered

    def add(self, media_id: str, reply: OnClaimed) -> None:
        """Claim a file; `reply` is called once, after this call has returned, unless the claims are cancelled."""
        self._unanswered += 1
        self._waiting.append((media_id, reply))
        if self._task is None:
            # An empty context: the trace of one send must not apply to the others.
            self._task = asyncio.create_task(self._claim_waiting(), context=Context())

    def cancel(self) -> None:
        """Drop the claims that are not answered: the device sends again on its next stream."""
        self._waiting.clear()
        self._unanswered = 0
        if self._task is not None:
            self._task.cancel()

    async def _claim_waiting(self) -> None:
        try:
            while self._waiting:
                batch = self._take_batch()
                outcomes = await self._claim(batch)
                for media_id, replies in batch.items():
                    for reply in replies:
                        self._unanswered -= 1
                        reply(outcomes[media_id])
        finally:
            self._task = None

    def _take_batch(self) -> dict[str, list[OnClaimed]]:
        """Remove the next claims, and return them by file, at most MAX_BATCH files."""
        batch: dict[str, list[OnClaimed]] = {}
        left: list[tuple[str, OnClaimed]] = []
        for media_id, reply in self._waiting:
            if media_id in batch or len(batch) < MAX_BATCH:
                batch.setdefault(media_id, []).append(reply)
            else:
                left.append((media_id, reply))
        self._waiting = left
        return batch

    async def _claim(self, media_ids: Collection[str]) -> Mapping[str, ClaimOutcome]:
        try:
            return await self._catalog.claim(self._user_id, media_ids)
        except Exception:
            # A fault in one call must not leave sends without an answer.
            log.exception("media claim failed")
            return dict.fromkeys(media_ids, Failure(INTERNAL_ERROR))

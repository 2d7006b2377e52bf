"""A failed range query for the targets of changes is raised and leaves no query running."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from chat_service.storage.documents import MAX_GAP
from chat_service.storage.log import MAX_CONCURRENT_RANGES, MongoLog
from servicekit.errors import StoreUnavailable
from tests.eventually import run_ready


class FailingCollection:
    """A collection whose first query fails, and whose other queries hang."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    def find(self, *_: object) -> FailingCollection:
        return self

    sort = hint = find

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        self.begun += 1
        first = self.begun == 1
        try:
            await run_ready()
            if first:
                raise AutoReconnect("gone")
            await asyncio.Event().wait()
            yield {}
        finally:
            self.ended += 1

    async def to_list(self) -> list[dict[str, Any]]:
        return [each async for each in self]


async def test_failed_range_leaves_no_query_running() -> None:
    entries = FailingCollection()
    database: Any = {"entries": entries}
    far_apart = range(1, 100 * (MAX_GAP + 1), MAX_GAP + 1)
    with pytest.raises(StoreUnavailable):
        await MongoLog(database).load_targets("c" * 32, far_apart)
    # One more query starts in the slot of the failed one before the failure is handled.
    assert entries.begun == entries.ended <= MAX_CONCURRENT_RANGES + 1

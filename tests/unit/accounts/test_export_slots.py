"""The number of concurrent exports: one per user and a few per server, not counting stalled readers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chat_service.accounts.archive import CHUNK_BYTES, ArchiveFile
from chat_service.media.catalog import EmptyMediaCatalog
from chat_service.personal_data import PersonalDataClient
from chat_service.servicers import account_export
from chat_service.servicers.account_export import MAX_CONCURRENT_EXPORTS, STALL_TIMEOUT_S, AccountExport
from servicekit.auth import Claims
from servicekit.errors import RateLimited
from tests.clock import ManualClock


class Archives:
    """A factory of endless exports."""

    def __init__(self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        async def endless(_: AsyncIterator[ArchiveFile], __: int) -> AsyncIterator[bytes]:
            while True:
                yield bytes(CHUNK_BYTES)

        monkeypatch.setattr(account_export, "stream_zip", endless)
        nobody: Any = None
        self._export = AccountExport(
            nobody, nobody, nobody, nobody, EmptyMediaCatalog().list_owned, PersonalDataClient([]).export_user, clock
        )

    async def begin(self, user_id: str) -> Any:
        archive: Any = self._export.stream(Claims(user_id, "device", 0.0))
        await anext(archive)
        return archive


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def archives(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Archives:
    return Archives(clock, monkeypatch)


async def test_second_export_of_a_user_is_refused(archives: Archives) -> None:
    first = await archives.begin("alice")
    with pytest.raises(RateLimited):
        await archives.begin("alice")
    await first.aclose()
    await archives.begin("alice")


async def test_exports_per_server_are_limited_except_stalled_ones(archives: Archives, clock: ManualClock) -> None:
    reading = [await archives.begin(str(number)) for number in range(MAX_CONCURRENT_EXPORTS)]
    with pytest.raises(RateLimited):
        await archives.begin("alice")
    clock.advance(STALL_TIMEOUT_S)
    for each in reading[1:]:
        await anext(each)
    await archives.begin("alice")
    with pytest.raises(RateLimited):
        await archives.begin("bob")

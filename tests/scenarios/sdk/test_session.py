"""A session file shared by several programs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from parley_client import FileStore
from tests.raw.world import PASSWORD
from tests.scenarios.sdk.people import People

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]


async def test_concurrent_programs_use_refresh_token_once(people: People, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "alice.json")
    one = await people.client_without_session(store)
    stale = await one.accounts.register(people.login_name("alice"), PASSWORD)
    other = await people.client_without_session(FileStore(store.path))
    await asyncio.gather(one.accounts.refresh(), other.accounts.refresh())
    assert one.session == other.session != stale

"""Users notice nothing of a restart of all chat servers in turn, under load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.nemesis import find_kinds
from tests.faults.run import run

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

UPGRADE = "all chat servers restarted in turn"


async def test_rolling_upgrade_under_load_is_invisible_to_users(tmp_path: Path) -> None:
    report = await run(tmp_path, 21, 25.0, kinds=find_kinds(UPGRADE), rate=30.0, members=1, strikes=1, files=False)
    report.check_kept()
    assert report.struck[UPGRADE] >= 1
    assert report.acknowledged > 200

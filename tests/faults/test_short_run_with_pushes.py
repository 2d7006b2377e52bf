"""No push is lost in a short run of faults with a fixed seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.nemesis import find_kinds
from tests.faults.run import run

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

FAULTS = ("notify server killed", "notify server frozen", "all notify servers killed")


async def test_no_push_is_lost_in_short_run(tmp_path: Path) -> None:
    report = await run(
        tmp_path, 23, 30.0, kinds=find_kinds(*FAULTS), rate=15.0, members=1, strikes=len(FAULTS), files=False
    )
    report.check_kept()
    assert report.struck.keys() == set(FAULTS)
    assert report.promised_pushes > 100
    assert report.pushes > 100

"""No file is lost or left behind in a short run of faults with a fixed seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.nemesis import find_kinds
from tests.faults.run import run

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

FAULTS = ("media server killed", "media server frozen", "S3 store killed", "S3 store frozen", "MongoDB primary killed")


async def test_no_file_is_lost_or_left_behind_in_short_run(tmp_path: Path) -> None:
    report = await run(tmp_path, 22, 45.0, kinds=find_kinds(*FAULTS), rate=15.0, strikes=len(FAULTS))
    report.check_kept()
    assert report.struck.keys() == set(FAULTS)
    assert report.uploads > 20
    assert report.references > 20
    assert report.downloads > report.references

"""Acknowledged sends survive a short run of faults with a fixed seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.nemesis import find_kinds
from tests.faults.run import run

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

FAULTS = ("chat server killed", "MongoDB primary stepped down", "Valkey flushed while devices are away")


async def test_acknowledged_sends_survive_short_run(tmp_path: Path) -> None:
    report = await run(tmp_path, 20, 45.0, kinds=find_kinds(*FAULTS), rate=30.0, strikes=len(FAULTS), files=False)
    report.check_kept()
    assert report.struck.keys() == set(FAULTS)
    assert report.acknowledged > 300
    assert report.spans > 100
    assert report.converged_s < 30

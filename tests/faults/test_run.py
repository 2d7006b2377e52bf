"""A short run with a fixed seed, and a rolling upgrade under load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.nemesis import ALL_KINDS, KINDS
from tests.faults.run import run

pytestmark = pytest.mark.fault

SHORT = ("chat server killed", "MongoDB primary stepped down", "Valkey flushed while devices are away")
FILES = ("media server killed", "media server frozen", "S3 store killed", "S3 store frozen", "MongoDB primary killed")
PUSHES = ("notify server killed", "notify server frozen", "all notify servers killed")
UPGRADE = "all chat servers restarted in turn"


@pytest.mark.timeout(240)
async def test_acknowledged_sends_survive_short_run(tmp_path: Path) -> None:
    kinds = [kind for kind in KINDS if kind.name in SHORT]
    report = await run(tmp_path, 20, 45.0, kinds=kinds, strikes=len(SHORT), files=False)
    assert not report.leaks, report.leaks[:5]
    assert not report.broken, [str(each) for each in report.broken[:5]]
    assert not report.errors, report.errors[:5]
    assert report.struck.keys() == set(SHORT)
    assert report.acknowledged > 1000
    assert report.spans > 100
    assert report.converged_s < 30


@pytest.mark.timeout(300)
async def test_no_file_is_lost_or_left_behind_in_short_run(tmp_path: Path) -> None:
    kinds = [kind for kind in ALL_KINDS if kind.name in FILES]
    report = await run(tmp_path, 22, 45.0, kinds=kinds, strikes=len(FILES))
    assert not report.leaks, report.leaks[:5]
    assert not report.broken, [str(each) for each in report.broken[:5]]
    assert not report.errors, report.errors[:5]
    assert report.struck.keys() == set(FILES)
    assert report.uploads > 20
    assert report.references > 20
    assert report.downloads > report.references


@pytest.mark.timeout(240)
async def test_no_push_is_lost_in_short_run(tmp_path: Path) -> None:
    kinds = [kind for kind in ALL_KINDS if kind.name in PUSHES]
    report = await run(tmp_path, 23, 30.0, kinds=kinds, members=1, strikes=len(PUSHES), files=False)
    assert not report.leaks, report.leaks[:5]
    assert not report.broken, [str(each) for each in report.broken[:5]]
    assert not report.errors, report.errors[:5]
    assert report.struck.keys() == set(PUSHES)
    assert report.promised_pushes > 100
    assert report.pushes > 100


@pytest.mark.timeout(240)
async def test_rolling_upgrade_under_load_is_invisible_to_users(tmp_path: Path) -> None:
    kinds = [kind for kind in KINDS if kind.name == UPGRADE]
    report = await run(tmp_path, 21, 25.0, kinds=kinds, members=1, strikes=1, files=False)
    assert report.struck[UPGRADE] >= 1
    assert not report.leaks, report.leaks[:5]
    assert not report.broken, [str(each) for each in report.broken[:5]]
    assert not report.errors, report.errors[:5]
    assert report.acknowledged > 500

"""The judge detects servers that break a promise deliberately, which shows that each check can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.faults.assessment import Deadlines
from tests.faults.files.times import CLAIM_S
from tests.faults.nemesis import find_kinds
from tests.faults.run import run
from tests.faults.saboteur import SABOTAGES

pytestmark = [pytest.mark.fault, pytest.mark.long, pytest.mark.timeout(300)]

SECONDS: Final = 20.0
# The promise that each breaks, and what brings it to light.
CASES: Final = {
    "acknowledges_before_commit": ("P1", "chat server killed"),
    "fences_nothing": ("P2", "chat server killed"),
    "lets_later_sends_pass": ("P2", "connections of devices cut"),
    "forgets_who_sent_what": ("P3", "connections of devices cut"),
    "tells_not_everybody": ("P4", "connections of devices cut"),
    "leaves_the_generation_alone": ("P5", "Valkey flushed while devices are away"),
    "pushes_late": ("P6", "connections of devices cut"),
    "shows_everything": ("P8", "connections of devices cut"),
    "acknowledges_before_it_sends": ("P12", "all notify servers killed"),
    "removes_files_in_use": ("P13", "media server killed"),
    "leaves_objects": ("P13", "media server killed"),
}
# How long devices may take in the end, where not being given anything is not the point.
SLOW: Final = {"pushes_late": 40.0}


def test_every_sabotage_has_a_test() -> None:
    assert CASES.keys() == SABOTAGES.keys()
    assert {promise for promise, _ in CASES.values()} == {f"P{number}" for number in (1, 2, 3, 4, 5, 6, 8, 12, 13)}


@pytest.mark.parametrize("sabotage", CASES)
async def test_sabotage_is_detected(tmp_path: Path, sabotage: str) -> None:
    promise, fault = CASES[sabotage]
    report = await run(
        tmp_path,
        1,
        SECONDS,
        kinds=find_kinds(fault),
        members=1,
        sabotage=sabotage,
        files=promise == "P13",
        deadlines=Deadlines(
            answered_s=10.0, converged_s=SLOW.get(sabotage, 3.0), settled_s=CLAIM_S + 15.0, arrived_s=5.0
        ),
    )
    assert report.acknowledged > 100
    found = {each.promise.partition(" ")[0] for each in report.broken}
    assert promise in found, [str(each) for each in report.broken[:10]]

"""Shared test configuration: server fixtures, the scheduling of files, and a failure for unreviewed skips under CI."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Final, TypeVar

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["tests.stack"]

FAULTS: Final = "tests/faults/"

_REVIEWED = Path(__file__).with_name("skips.txt")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


class FileScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """All tests of a file run in one process and share its servers.

    Those of `tests/faults` run in one process too: each loads the machine, and would measure another one beside it.
    """

    def _split_scope(self, nodeid: str) -> str:
        return FAULTS if nodeid.startswith(FAULTS) else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling:
    """Return the scheduler of the test processes."""
    return FileScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Check the report of a test."""
    return _without_silent_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Check the report of a file that is skipped during collection."""
    return _without_silent_skip((yield))


def _without_silent_skip(report: Report) -> Report:
    """Return the report, failed if it is an unreviewed skip under CI."""
    expected = hasattr(report, "wasxfail")
    if report.skipped and not expected and os.environ.get("CI") and report.nodeid not in _reviewed():
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and is not in {_REVIEWED.name}: {_reason(report)}"
    return report


def _reviewed() -> set[str]:
    lines = (line.partition(" #")[0].strip() for line in _REVIEWED.read_text().splitlines())
    return {line for line in lines if line and not line.startswith("#")}


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)

"""A log level that an operator sets holds for its time, and leaves the audit log and libraries alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from servicekit import telemetry
from servicekit.audit import record_event
from servicekit.log_levels import LogLevels
from tests.clock import ManualClock


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def levels(clock: ManualClock) -> LogLevels:
    telemetry.configure_logging("json", "warning")
    return LogLevels("warning", clock)


def test_level_for_a_time_returns(levels: LogLevels, clock: ManualClock) -> None:
    levels.change("debug", 60)
    assert levels.current == "debug"
    assert levels.end_ms == clock.now_ms() + 60_000
    clock.advance(59)
    assert levels.current == "debug"
    clock.advance(1)
    assert levels.current == "warning"
    assert levels.end_ms is None


def test_level_without_a_time_stays_until_it_is_restored(levels: LogLevels, clock: ManualClock) -> None:
    levels.change("info", None)
    clock.advance(100_000)
    assert (levels.current, levels.end_ms) == ("info", None)
    levels.restore()
    assert levels.current == "warning"


def test_later_change_ends_the_time_of_the_earlier_one(levels: LogLevels, clock: ManualClock) -> None:
    levels.change("debug", 60)
    levels.change("error", None)
    clock.advance(61)
    assert levels.current == "error"


def test_lines_follow_the_level(capsys: pytest.CaptureFixture[str], clock: ManualClock) -> None:
    telemetry.configure_logging("json", "warning")
    levels, log = LogLevels("warning", clock), structlog.get_logger("owner")
    log.debug("before")
    levels.change("debug", None)
    log.debug("during")
    levels.restore()
    log.info("after")
    printed = capsys.readouterr().err
    assert "during" in printed
    assert "before" not in printed
    assert "after" not in printed


@pytest.mark.parametrize("level", ["warning", "error", "critical"])
def test_audit_log_is_written_at_any_level(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("json", level)
    record_event("account_purge", {"user": "user-1"})
    assert '"account_purge"' in capsys.readouterr().err


def test_libraries_log_no_line_below_warning_which_may_hold_messages(
    capsys: pytest.CaptureFixture[str],
) -> None:
    telemetry.configure_logging("json", "debug")
    logging.getLogger("pymongo.command").debug("insert %s", "hush")
    logging.getLogger("pymongo.command").warning("connection lost")
    structlog.get_logger("owner").debug("ours")
    printed = capsys.readouterr().err
    assert "hush" not in printed
    assert "connection lost" in printed
    assert "ours" in printed

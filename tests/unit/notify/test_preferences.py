"""Quiet hours by the wall clock of the user's time zone."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify_service.model.preferences import Preferences, QuietHours, find_zone

MINUTES = st.integers(0, 1439)
ZONES = st.sampled_from(["UTC", "Europe/Lisbon", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia", "Africa/Cairo"])
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1))  # noqa: DTZ001  local times


def at(zone: str, *when: int) -> int:
    return round(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp() * 1000)  # type: ignore[misc,arg-type]


@given(MINUTES, MINUTES, ZONES, TIMES)
def test_minute_is_quiet_if_a_walk_from_the_start_meets_it(start: int, end: int, zone: str, local: datetime) -> None:
    # A local time that a change of the clocks skips does not exist: the walk begins at one that does.
    now = local.replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC")).astimezone(ZoneInfo(zone))
    length = (end - start) % 1440 or 1440
    walk = {(start + step) % 1440 for step in range(length)}
    is_quiet = QuietHours(start, end, zone).contain(round(now.timestamp() * 1000))
    assert is_quiet == (now.hour * 60 + now.minute in walk)


@given(MINUTES, MINUTES, ZONES, TIMES)
def test_period_and_its_complement_cover_the_day_once(start: int, end: int, zone: str, local: datetime) -> None:
    now_ms = round(local.replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    inside = QuietHours(start, end, zone).contain(now_ms)
    assert inside if start == end else inside != QuietHours(end, start, zone).contain(now_ms)


@pytest.mark.parametrize(
    ("hour", "minute", "expected"), [(21, 59, False), (22, 0, True), (23, 59, True), (6, 59, True), (7, 0, False)]
)
def test_night_passes_midnight(hour: int, minute: int, expected: bool) -> None:
    night = QuietHours(22 * 60, 7 * 60, "Europe/Lisbon")
    assert night.contain(at("Europe/Lisbon", 2026, 7, 15, hour, minute)) is expected


def test_hours_follow_the_change_of_the_clocks() -> None:
    night = QuietHours(22 * 60, 7 * 60, "Europe/Berlin")
    # 06:30 in winter is 05:30 UTC; in summer 05:30 UTC is 07:30.
    assert night.contain(at("UTC", 2026, 1, 15, 5, 30))
    assert not night.contain(at("UTC", 2026, 7, 15, 5, 30))


def test_user_without_quiet_hours_is_never_quiet() -> None:
    assert not Preferences().is_quiet(at("UTC", 2026, 1, 1))
    everywhere = Preferences(quiet_hours=QuietHours(0, 0, "Asia/Tokyo"))
    assert all(
        everywhere.is_quiet(at("UTC", 2026, 1, 1) + round(timedelta(hours=h) / timedelta(milliseconds=1)))
        for h in range(24)
    )


def test_zone_is_read_once() -> None:
    assert find_zone("Europe/Lisbon") is find_zone("Europe/Lisbon")
    hits = find_zone.cache_info().hits
    assert QuietHours(0, 0, "Europe/Lisbon").contain(0)
    assert find_zone.cache_info().hits == hits + 2


@pytest.mark.parametrize("name", ["Atlantis/Capital", "", "../etc/passwd", "/etc/passwd", "Europe", "a\0b", "é" * 32])
def test_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"no time zone .* a name such as Europe/Lisbon"):
        find_zone(name)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A folder in which time zones are looked for."""
    zoneinfo.reset_tzpath([tmp_path])
    yield tmp_path
    zoneinfo.reset_tzpath()


@pytest.mark.parametrize("name", ["localtime", "posixrules", "Factory"])
def test_zone_of_the_server_itself_is_refused(name: str, database: Path) -> None:
    """Databases have files for what their own machine is set to."""
    (database / name).write_bytes(files("tzdata.zoneinfo.Europe").joinpath("Lisbon").read_bytes())
    assert ZoneInfo.no_cache(name).key == name
    with pytest.raises(ValueError, match="no time zone"):
        find_zone(name)

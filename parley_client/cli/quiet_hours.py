"""Quiet hours as a person writes them: “22:00-07:00” or “none”, and a time zone."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import time

from parley_client.cli.errors import LIST_ZONES, CommandError
from parley_client.cli.local_zone import LOCAL_ZONE, find_local_zone
from parley_client.push_preferences import QuietHours

_NO_HOURS = "none"
_HOURS = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


def validate_hours(text: str) -> str:
    """Return `text` if it is a period of the day, or “none”. Raise ValueError otherwise."""
    if text != _NO_HOURS and not _HOURS.fullmatch(text):
        raise ValueError(f"“{text}” is not a period such as 22:00-07:00, nor “{_NO_HOURS}”")
    return text


def change_quiet_hours(present: QuietHours | None, hours: str | None, zone: str | None = None) -> QuietHours | None:
    """Return the present quiet hours with other hours, in another time zone; None keeps either.

    Without a present time zone it is that of this machine, and so is “localtime”. Raise ValueError if `hours` are not
    valid, and CommandError if hours or time zone are missing.
    """
    if zone == LOCAL_ZONE:
        zone = _require_local_zone()
    if hours is None:
        if present is None and zone is not None:
            raise CommandError("You have no quiet hours. Set them with --quiet, for example --quiet 22:00-07:00.")
        return replace(present, time_zone=zone) if present and zone else present
    match = _HOURS.fullmatch(validate_hours(hours))
    if match is None:
        return None
    zone = zone or (present.time_zone if present else None) or _require_local_zone()
    start_hour, start_minute, end_hour, end_minute = map(int, match.groups())
    return QuietHours(time(start_hour, start_minute), time(end_hour, end_minute), zone)


def _require_local_zone() -> str:
    zone = find_local_zone()
    if zone is None:
        raise CommandError(
            "The time zone of this machine has no name here. Name yours with --zone, for example --zone Europe/Lisbon. "
            f"{LIST_ZONES}"
        )
    return zone


def write_hours(quiet: QuietHours | None) -> str:
    """Return quiet hours as a person writes them, without the time zone."""
    return f"{quiet.start:%H:%M}-{quiet.end:%H:%M}" if quiet else _NO_HOURS

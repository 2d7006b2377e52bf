"""The duration of a mute as a person writes it: “8h”."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

ENDLESS_MUTE: Final = timedelta(days=365 * 10)
"""A mute without an end: the server needs a time, so this one is far enough."""

_DURATION: Final = re.compile(r"([1-9]\d{0,3})([mhdw])", re.ASCII)
_UNITS: Final = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def parse_duration(text: str) -> timedelta:
    """Return a duration of minutes, hours, days or weeks, at most ENDLESS_MUTE. Raise ValueError if it is none."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"“{text}” is not a time such as 30m, 8h, 2d or 1w")
    return min(int(match[1]) * _UNITS[match[2]], ENDLESS_MUTE)

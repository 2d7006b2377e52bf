"""The IANA time zone of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

_LINK = Path("/etc/localtime")
_DATABASE = "zoneinfo/"


def find_local_zone(link: Path = _LINK) -> str | None:
    """Return the name of the local time zone, such as “Europe/Lisbon”; None if it is not known.

    It is the one in the variable TZ, else the one to which `link` leads.
    """
    name = os.environ.get("TZ", "").removeprefix(":") or str(link.resolve()).rpartition(_DATABASE)[2]
    try:
        return ZoneInfo(name).key
    except (ValueError, OSError, KeyError):
        return None

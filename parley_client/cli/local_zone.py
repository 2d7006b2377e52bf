"""The IANA time zone of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo

_LINK = Path("/etc/localtime")
_DATABASE = "zoneinfo/"
LOCAL_ZONE = "localtime"
"""The file of the time zone of a machine. It is no name of a time zone: elsewhere it is another one."""


def find_local_zone(link: Path = _LINK) -> str | None:
    """Return the name of the local time zone, such as “Europe/Lisbon”; None if it is not known.

    It is the one in the variable TZ, else the one to which `link` leads.
    """
    name = os.environ.get("TZ", "").removeprefix(":")
    if name in ("", LOCAL_ZONE):
        name = str(link.resolve()).rpartition(_DATABASE)[2]
    try:
        return ZoneInfo(name).key if name != LOCAL_ZONE else None
    except (ValueError, OSError, KeyError):
        return None

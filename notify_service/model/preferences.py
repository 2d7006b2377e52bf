"""The notification preferences of a user."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

# More than the database has. A zone is read from a file, which the event loop waits for.
_MAX_ZONES: Final = 1024
# Files of the database that are no IANA zones: the first two are whatever the server's machine is set to.
_NOT_ZONES: Final = frozenset({"localtime", "posixrules", "Factory"})


class Scope(IntEnum):
    """The messages that notify; the values are those of NotificationScope in the protos."""

    ALL = 1
    MENTIONS = 2
    NONE = 3


class Preview(IntEnum):
    """The part of a message that is shown; the values are those of NotificationPreview in the protos."""

    FULL = 1
    SENDER = 2
    NONE = 3


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A period of the day, in minutes after midnight by the wall clock of a time zone.

    An end before the start is on the next day; an equal one means all day. Raise ValueError for an unknown time zone.
    """

    start_minute: int
    end_minute: int
    time_zone: str

    def __post_init__(self) -> None:
        find_zone(self.time_zone)

    def contain(self, now_ms: int) -> bool:
        """Return whether a time in milliseconds since 1970 is within the period."""
        local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(find_zone(self.time_zone))
        minute = local.hour * 60 + local.minute
        if self.start_minute < self.end_minute:
            return self.start_minute <= minute < self.end_minute
        return minute >= self.start_minute or minute < self.end_minute


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences of a user, for all devices."""

    scope: Scope = Scope.ALL
    preview: Preview = Preview.FULL
    reactions: bool = True
    quiet_hours: QuietHours | None = None

    def is_quiet(self, now_ms: int) -> bool:
        """Return whether a time in milliseconds since 1970 is within the quiet hours."""
        return self.quiet_hours is not None and self.quiet_hours.contain(now_ms)


DEFAULT_PREFERENCES: Final = Preferences()


@dataclass(frozen=True, slots=True)
class PreferencesChange:
    """A change of preferences: what is None stays as it is, except quiet hours, of which there are none then."""

    scope: Scope | None = None
    preview: Preview | None = None
    reactions: bool | None = None
    quiet_hours: QuietHours | None = None


@lru_cache(_MAX_ZONES)
def find_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name. Raise ValueError if there is none."""
    try:
        if name not in _NOT_ZONES:
            return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        # Also the name of a folder, and one that leads out of the database.
        pass
    raise ValueError(f"there is no time zone {name!r}: it needs a name such as Europe/Lisbon")

"""The presence of a user: the streams of the user's devices, and what follows from them at a moment.

All times are milliseconds of Redis's clock, so that the clocks of servers are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

# A device whose stream was closed is offline if it does not connect again within this time.
CLOSE_GRACE_MS: Final = 3_000

LeaseEnd = Callable[[str, int], float]
"""Returns when the lease of an incarnation of a chat server ends; minus infinity if it has none."""


class PresenceState(IntEnum):
    """The state in which a user can be reached now; the numbers are those of the proto."""

    ONLINE = 1
    BACKGROUND = 2
    OFFLINE = 3

    # The hash of Enum is slow, and presences are keys of dictionaries.
    __hash__ = int.__hash__


class Presence(NamedTuple):
    """The presence of a user at a moment. `seen_ms` is the last time in the foreground, 0 if there was none."""

    state: PresenceState
    seen_ms: int = 0


OFFLINE: Final = Presence(PresenceState.OFFLINE)


class StreamState(IntEnum):
    """The state of a stream that a chat server reports; the numbers are those of the proto."""

    FOREGROUND = 1
    BACKGROUND = 2
    CLOSED = 3
    SILENT = 4
    SIGNED_OUT = 5

    @property
    def is_open(self) -> bool:
        """True while the device is connected."""
        return self <= StreamState.BACKGROUND


@dataclass(frozen=True, slots=True)
class Transition:
    """A stream of a device that was opened, closed, or moved between foreground and background `age_ms` ago.

    `sequence` orders the transitions of a stream; 0 follows whatever came before.
    """

    user_id: str
    session_id: str
    state: StreamState
    age_ms: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class DeviceStream:
    """A stream of a device at an incarnation of a chat server. `closed_ms` is 0 while it is open."""

    server_id: str
    incarnation: int
    foreground: bool
    closed_ms: int = 0


@dataclass(frozen=True, slots=True)
class PresenceRecord:
    """The streams of a user's devices, and the last time in the foreground of those that have ended (0: unknown).

    Of two records of a user the one with the higher `version` is the newer one; that of an absent record is 0. A record
    that `is_erased` was removed with the account.
    """

    streams: tuple[DeviceStream, ...] = ()
    seen_ms: int = 0
    version: int = 0
    is_erased: bool = False


class Observation(NamedTuple):
    """The presence of a user at a moment, and when it changes if nothing else happens; infinity: never."""

    presence: Presence
    until_ms: float


NO_RECORD: Final = PresenceRecord()


def observe(record: PresenceRecord, lease_end: LeaseEnd, now_ms: float) -> Observation:
    """Return the presence that follows from a record at a moment.

    A stream counts until the lease of its server ends, or CLOSE_GRACE_MS after it was closed.
    """
    foreground_until = connected_until = -math.inf
    seen_ms = record.seen_ms
    for stream in record.streams:
        end = stream.closed_ms or lease_end(stream.server_id, stream.incarnation)
        until = end + CLOSE_GRACE_MS if stream.closed_ms else end
        connected_until = max(connected_until, until)
        if stream.foreground:
            foreground_until = max(foreground_until, until)
            seen_ms = max(seen_ms, int(end)) if 0 < end <= now_ms else seen_ms
    if foreground_until > now_ms:
        return Observation(Presence(PresenceState.ONLINE), foreground_until)
    if connected_until > now_ms:
        return Observation(Presence(PresenceState.BACKGROUND, seen_ms), connected_until)
    return Observation(Presence(PresenceState.OFFLINE, seen_ms), math.inf)

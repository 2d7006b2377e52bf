"""The server's clock as a device knows it, and the ids that are made from it."""

from __future__ import annotations

import time
from collections.abc import Callable

import uuid_utils

# Below this the device's own clock is good enough: ids may run 10 minutes ahead.
TOLERATED = 3.0


class ServerClock:
    """The server's time, in seconds since 1970: the device's own clock plus what it is off by."""

    def __init__(self, offset: float = 0.0, wall: Callable[[], float] = time.time) -> None:
        self.offset = offset
        self._wall = wall

    def heard(self, server_time: float) -> None:
        """The server said what time it is, in seconds since 1970."""
        self.offset = server_time - self._wall()

    def now(self) -> float:
        """The server's time now."""
        return self._wall() + self.offset

    def new_id(self) -> str:
        """A UUIDv7: from the device's clock, or from the server's if the device's is wrong."""
        if abs(self.offset) <= TOLERATED:
            return str(uuid_utils.uuid7())
        return str(uuid_utils.uuid7(nanoseconds=int(self.now() * 1_000_000_000)))

"""A device's estimate of the server's clock, and the ids that are generated from it."""

from __future__ import annotations

import time
from collections.abc import Callable

import uuid_utils

# Up to this skew ids are generated from the device's own clock: the server accepts ids up to 10 minutes ahead.
MAX_TOLERATED_SKEW_S = 3.0


class ServerClock:
    """The server's time in seconds since 1970: the device's clock plus `offset` seconds."""

    def __init__(self, offset: float = 0.0, local_time: Callable[[], float] = time.time) -> None:
        self.offset = offset
        self._local_time = local_time

    def observe(self, server_time: float) -> None:
        """Set the offset from a time of the server, in seconds since 1970."""
        self.offset = server_time - self._local_time()

    def now(self) -> float:
        """Return the server's present time in seconds since 1970."""
        return self._local_time() + self.offset

    def new_id(self) -> str:
        """Return a new UUIDv7 by the device's clock, or by the server's if the device's is off by more than 3 s."""
        if abs(self.offset) <= MAX_TOLERATED_SKEW_S:
            return str(uuid_utils.uuid7())
        return str(uuid_utils.uuid7(nanoseconds=int(self.now() * 1_000_000_000)))

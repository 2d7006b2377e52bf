"""How many streams of one device are open here: who opens more and more keeps no memory for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chat_service.errors import RateLimited

# The earlier ones, which the newest supersedes, end meanwhile.
STREAM_RETRY_S: Final = 5.0


class StreamLimiter:
    """At most `most` of a device at once, those that have not said hello and those that are ending included."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def count_stream(self, device_id: str) -> Iterator[None]:
        """A stream of a device, from its first moment to its last. Raises RateLimited."""
        if self._open[device_id] >= self._most:
            raise RateLimited("this device has too many streams open", retry_after=STREAM_RETRY_S)
        self._open[device_id] += 1
        try:
            yield
        finally:
            self._open[device_id] -= 1
            if not self._open[device_id]:
                del self._open[device_id]

"""The delay from the append of an entry to the outboxes of its readers, measured for a sample of deliveries."""

from __future__ import annotations

from typing import Final

from prometheus_client import Histogram

from parley.chat.v1 import entry_pb2
from servicekit.clock import Clock

# A busy edge decodes the time of one entry in this interval, and no more.
SAMPLE_INTERVAL_S: Final = 0.1

_seconds = Histogram(
    "parley_delivery_seconds",
    "Seconds from the time of an entry to its outboxes at an edge; a sample of 10 deliveries a second at most",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)


class DeliverySampler:
    """Measures one of the deliveries that are offered in each SAMPLE_INTERVAL_S.

    The time of an entry is set by the owner, when its group commit begins. If the owner is another server, the delay is
    as exact as the clocks of the two agree; it is never negative.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_sample_at = clock.monotonic()

    def offer(self, entry: bytes) -> None:
        """Measure the delay of a serialised Entry, unless one was measured a moment ago."""
        now = self._clock.monotonic()
        if now < self._next_sample_at:
            return
        self._next_sample_at = now + SAMPLE_INTERVAL_S
        appended_ms = entry_pb2.Entry.FromString(entry).create_time.ToMilliseconds()
        _seconds.observe(max(self._clock.now_ms() - appended_ms, 0) / 1000)

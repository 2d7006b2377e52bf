"""The counters of a load generator."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any


class LoadCounters:
    """The counters of all devices since the start, and the latencies (microseconds) since the last snapshot."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.delivered = 0
        self.receipts = 0
        self.outdated = 0
        self.refusals: Counter[str] = Counter()
        self.latencies: list[int] = []

    def take_snapshot(self) -> dict[str, Any]:
        """Return all counters and the monotonic time, which all processes share, and reset the latencies."""
        latencies, self.latencies = self.latencies, []
        return {
            "at": time.monotonic(),
            "sent": self.sent,
            "answered": self.answered,
            "delivered": self.delivered,
            "receipts": self.receipts,
            "outdated": self.outdated,
            "refusals": dict(self.refusals),
            "latencies": latencies,
        }

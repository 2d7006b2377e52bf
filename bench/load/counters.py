"""What the devices of a load generator have done so far."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any


class LoadCounters:
    """Counts since the beginning, and the latencies (in microseconds) since they were last asked for."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.delivered = 0
        self.receipts = 0
        self.refusals: Counter[str] = Counter()
        self.latencies: list[int] = []

    def take_snapshot(self) -> dict[str, Any]:
        """All of it, with the moment (monotonic seconds, the same clock in all processes)."""
        latencies, self.latencies = self.latencies, []
        return {
            "at": time.monotonic(),
            "sent": self.sent,
            "answered": self.answered,
            "delivered": self.delivered,
            "receipts": self.receipts,
            "refusals": dict(self.refusals),
            "latencies": latencies,
        }

"""The state of the S3 store as its requests show it: a gauge, and one log line for each begin and end of an outage."""

from __future__ import annotations

import structlog
from prometheus_client import Counter, Gauge

from servicekit.clock import Clock
from servicekit.health import HealthPart

_up = Gauge("parley_s3_up", "1 if the S3 store served the last request, else 0")
_failures = Counter("parley_s3_failures", "Requests that the S3 store did not serve", ["operation"])

_log = structlog.get_logger("store.s3")


class S3OutageWatch:
    """Records the requests that the store served and those that it did not serve.

    `health` is the part of the server that health checks know.
    """

    def __init__(self, clock: Clock) -> None:
        self.health = HealthPart("s3")
        self._clock = clock
        self._began_at: float | None = None

    def record_success(self) -> None:
        """Record a request that the store served, or refused for a reason of the request itself."""
        _up.set(1)
        self.health.set_serving(True)
        if self._began_at is not None:
            _log.info("S3 outage ended", seconds=round(self._clock.monotonic() - self._began_at, 1))
            self._began_at = None

    def record_failure(self, operation: str, error: str) -> None:
        """Record a request that failed, or that the store refused for a reason that other requests share."""
        _up.set(0)
        self.health.set_serving(False)
        _failures.labels(operation).inc()
        if self._began_at is None:
            self._began_at = self._clock.monotonic()
            _log.warning("S3 outage began", operation=operation, error=error)

"""A device's own measure of its sends, so that it rarely meets the limit. Pure: time is an argument."""

from __future__ import annotations

# A little below what the server takes, for two clocks never run alike.
SHARE = 0.95


class Pacing:
    """A bucket of `burst` sends, refilled with `per_second` a second."""

    def __init__(self, per_second: float = 20.0, burst: float = 60.0) -> None:
        self._rate = per_second * SHARE
        self._burst = burst * SHARE
        self._tokens = self._burst
        self._at = 0.0

    def limit(self, per_second: float, burst: float) -> None:
        """Take over the limits of a welcome; 0 keeps what was. What is in the bucket stays."""
        self._rate = per_second * SHARE if per_second else self._rate
        self._burst = max(1.0, burst * SHARE) if burst else self._burst
        self._tokens = min(self._tokens, self._burst)

    def take(self, now: float) -> bool:
        """Whether one more may be sent at `now`; if so it counts."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def wait(self, now: float) -> float:
        """Seconds until one more may be sent."""
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def empty(self) -> None:
        """The server said it was too fast: begin from nothing."""
        self._tokens = 0.0

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now

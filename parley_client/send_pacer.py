"""The client-side rate limit of a device's sends, below the server's limit. Pure: time is an argument."""

from __future__ import annotations

# Part of the server's limit that is used: the two clocks may run at different speeds.
RATE_FRACTION = 0.95


class SendPacer:
    """A token bucket of `burst` sends, refilled at `per_second`, both times 0.95."""

    def __init__(self, per_second: float = 20.0, burst: float = 60.0) -> None:
        self._rate = per_second * RATE_FRACTION
        self._burst = burst * RATE_FRACTION
        self._tokens = self._burst
        self._refill_time = 0.0

    def set_limits(self, per_second: float, burst: float) -> None:
        """Set the limits of a welcome; 0 keeps a limit. The tokens in the bucket remain, up to the new burst."""
        self._rate = per_second * RATE_FRACTION if per_second else self._rate
        self._burst = max(1.0, burst * RATE_FRACTION) if burst else self._burst
        self._tokens = min(self._tokens, self._burst)

    def try_acquire(self, now: float) -> bool:
        """Take a token for one send; return False if the bucket is empty."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def time_until_available(self, now: float) -> float:
        """Return the seconds until the next token is available."""
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def empty(self) -> None:
        """Empty the bucket, because the server refused a send with RATE_LIMITED."""
        self._tokens = 0.0

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._refill_time) * self._rate)
        self._refill_time = now

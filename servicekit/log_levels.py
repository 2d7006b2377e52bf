"""The log level of the process, which an operator changes for a time or until the process ends."""

from __future__ import annotations

from servicekit import telemetry
from servicekit.clock import Clock, Timer


class LogLevels:
    """The log level: that of the settings, `configured`, unless another one was set. The audit log is not affected."""

    def __init__(self, configured: str, clock: Clock) -> None:
        self._configured = configured
        self._clock = clock
        self._timer: Timer | None = None
        self.end_ms: int | None = None
        """The time at which the configured level is restored, in ms since 1970; None if no level is set for a time."""

    @property
    def current(self) -> str:
        """The level, in lower case."""
        return telemetry.log_level()

    def change(self, level: str, duration_s: float | None) -> None:
        """Set a level, for `duration_s` seconds unless that is None. An earlier change ends."""
        self.restore()
        telemetry.set_log_level(level)
        if duration_s is not None:
            self.end_ms = self._clock.now_ms() + round(duration_s * 1000)
            self._timer = self._clock.call_later(duration_s, self.restore)

    def restore(self) -> None:
        """Set the configured level."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self.end_ms = None, None
        telemetry.set_log_level(self._configured)

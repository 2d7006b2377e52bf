"""The `WatchPresence` streams of this server: one for each device, over all presence servers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from presence_service.model.presence import Presence
from servicekit.auth import Claims
from servicekit.clock import Clock
from servicekit.errors import SessionSuperseded, Unauthenticated
from servicekit.failure import Failure
from servicekit.rpc import Admit
from servicekit.tasks import cancel_requested, gather_limited

# The devices of open streams are admitted again at this interval: one that was signed out is sent away.
ADMISSION_INTERVAL_S: Final = 5.0
MAX_CONCURRENT: Final = 8


@dataclass(frozen=True, slots=True)
class WatchUpdate:
    """The next message for a device: the newest presence of users, or the request to call another server."""

    presences: dict[str, Presence] = field(default_factory=dict)
    draining: bool = False


class DeviceWatch:
    """The updates for the stream of one device."""

    def __init__(self, claims: Claims) -> None:
        self.claims = claims
        self._presences: dict[str, Presence] = {}
        self._draining = False
        self._failure: Failure | None = None
        # The number of this watch, 0 until it is known, and of the newest one of the device.
        self._number = self._newest = 0
        self._wake = asyncio.Event()

    def tell(self, presences: Sequence[tuple[str, Presence]]) -> None:
        """Take what changed."""
        self._presences.update(presences)
        self._wake.set()

    def end(self, failure: Failure) -> None:
        """End the stream with a failure."""
        self._failure = self._failure or failure
        self._wake.set()

    def drain(self) -> None:
        """Tell the device once that this server is shutting down."""
        self._draining = True
        self._wake.set()

    def set_number(self, number: int) -> None:
        """Take the number of this watch."""
        self._number = number
        self._end_if_superseded()

    def on_opened(self, number: int) -> None:
        """Take the number of a watch of the same device."""
        self._newest = max(self._newest, number)
        self._end_if_superseded()

    def _end_if_superseded(self) -> None:
        if 0 < self._number < self._newest:
            self.end(SessionSuperseded("another watch of this device replaced this one"))

    async def wait(self, timeout_s: float) -> WatchUpdate:
        """Return the next update, an empty one after `timeout_s`. Raise the Failure that ends the stream."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        self._wake.clear()
        if self._failure is not None:
            raise self._failure
        if self._presences:
            presences, self._presences = self._presences, {}
            # The drain is told next.
            if self._draining:
                self._wake.set()
            return WatchUpdate(presences)
        draining, self._draining = self._draining, False
        return WatchUpdate(draining=draining)


class DeviceWatches:
    """The open streams of this server. Without `admit`, devices are not admitted again."""

    def __init__(self, admit: Admit | None, drain_seconds: float, clock: Clock) -> None:
        self._admit = admit
        self._drain_seconds = drain_seconds
        self._clock = clock
        # By device id. A device has several for a moment, until the older ones end.
        self._open: dict[str, list[DeviceWatch]] = {}

    def open(self, claims: Claims) -> DeviceWatch:
        """Return a new watch of a device."""
        watch = DeviceWatch(claims)
        self._open.setdefault(claims.device_id, []).append(watch)
        return watch

    def close(self, watch: DeviceWatch) -> None:
        """Forget a watch whose stream has ended."""
        watches = self._open[watch.claims.device_id]
        watches.remove(watch)
        if not watches:
            del self._open[watch.claims.device_id]

    def on_opened(self, device_id: str, number: str) -> None:
        """End the watches of a device that has opened a newer one, here or at another server."""
        for watch in self._open.get(device_id, ()):
            watch.on_opened(int(number))

    def choose_delay(self) -> float:
        """Return after how many seconds a device calls again, so that not all devices do so at once."""
        return random.uniform(0, self._drain_seconds / 2)  # noqa: S311  not for cryptography

    async def run(self) -> None:
        """Admit the devices again until cancelled."""
        while not cancel_requested():
            await self._clock.sleep(ADMISSION_INTERVAL_S)
            await gather_limited(self._check, self._all(), limit=MAX_CONCURRENT)

    async def run_until_drain(self) -> None:
        """Wait for the drain, then tell all devices."""
        try:
            await asyncio.Event().wait()
        finally:
            for watch in self._all():
                watch.drain()

    async def _check(self, watch: DeviceWatch) -> None:
        """End the stream of a device that may no longer use the service; if that is not known, it goes on."""
        try:
            if self._admit is not None:
                await self._admit(watch.claims)
        except Unauthenticated as failure:
            watch.end(failure)
        except Failure:
            return

    def _all(self) -> list[DeviceWatch]:
        return [watch for watches in self._open.values() for watch in watches]

"""The HTTP client of the push providers: HTTP/2, one for each process, bounded in time, number and size."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

import httpx2

from notify_service.providers.circuit_breakers import CircuitBreakers
from notify_service.providers.connections import DEFAULT_LIMITS, ClientBusy, ClientLimits, Connections, no_answer
from servicekit.clock import Clock

# A longer delay is longer than most pushes are kept.
MAX_RETRY_AFTER_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class PushAnswer:
    """An answer of a provider: the status, the headers by lower-case name, and the beginning of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    # The header Retry-After as a delay in seconds, at most MAX_RETRY_AFTER_S; None without one.
    retry_after_s: float | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON object of the body; an empty one if it is none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            # A body of 16 KiB may be nested deeper than Python reads.
            return {}
        return document if isinstance(document, dict) else {}


class PushClient:
    """Posts requests over kept connections; close it when the process stops.

    It speaks HTTP/2 with every server that does, follows no redirect, keeps no cookie, and uses no proxy. `ca_file` is
    the PEM file of the authorities that sign the certificates of the providers, by default those of the system. Raise
    ConfigurationError if it cannot be read.
    """

    def __init__(self, clock: Clock, *, ca_file: Path | None = None, limits: ClientLimits = DEFAULT_LIMITS) -> None:
        self._clock = clock
        self._limits = limits
        self._connections = Connections(clock, ca_file, limits)
        self._breakers = CircuitBreakers(clock)
        self._slots = asyncio.Semaphore(limits.requests)
        # A semaphore lives as long as requests use it: hosts of Web Push come from users.
        self._slots_by_host: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    async def post(self, url: httpx2.URL | str, headers: Mapping[str, str], body: bytes) -> PushAnswer:
        """Return the answer to one request. Raise ProviderUnreachable if there is none within the limits.

        It is raised at once while the host does not answer.
        """
        url = httpx2.URL(url)
        host = f"{url.host}:{url.port}"
        self._breakers.check(host)
        async with self._hold_slot(url.host, host):
            # Those that waited for a slot fail at once too if the host was paused since.
            with self._breakers.request(host):
                status, received, content = await self._exchange(url, headers, body)
        retry_after_s = parse_retry_after(received.get("retry-after"), self._clock.now_ms())
        return PushAnswer(status, received, content, retry_after_s)

    @asynccontextmanager
    async def _hold_slot(self, name: str, host: str) -> AsyncIterator[None]:
        """Hold a slot for a request to a host. Raise ClientBusy, with the name of the host, if there is none."""
        slots = self._slots_by_host.get(host)
        if slots is None:
            slots = self._slots_by_host[host] = asyncio.Semaphore(self._limits.requests_per_host)
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._limits.wait_s):
                    await held.enter_async_context(slots)
                    await held.enter_async_context(self._slots)
            except TimeoutError as error:
                raise ClientBusy(name) from error
            yield

    async def _exchange(
        self, url: httpx2.URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            async with asyncio.timeout(self._limits.total_s):
                return await self._connections.post(url, headers, body)
        except TimeoutError as error:
            raise no_answer(url.host, error) from error


def parse_retry_after(value: str | None, now_ms: int) -> float | None:
    """Return the delay in seconds of a header Retry-After, which has seconds or a date (RFC 9110, section 10.2.3).

    The result is 0 to MAX_RETRY_AFTER_S, or None without a valid header.
    """
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        # More digits are longer than the maximum, and Python converts only so many.
        return min(float(value[:10]), MAX_RETRY_AFTER_S)
    try:
        delay_s = parsedate_to_datetime(value).timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        return None
    return min(max(delay_s, 0.0), MAX_RETRY_AFTER_S)

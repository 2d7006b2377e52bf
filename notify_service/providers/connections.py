"""The connections of the push providers: one pool, which is replaced when a connection of it has no stream left."""

from __future__ import annotations

import logging
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Final

import h2.exceptions
import httpx2

from servicekit.clock import Clock
from servicekit.config import ConfigurationError

_ERRORS: Final = (httpx2.HTTPError, h2.exceptions.H2Error, OSError)


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """The limits of the client: of time, in seconds, and of number."""

    connect_s: float = 5.0
    # The time without a byte on a connection. Then the connection is abandoned, with all requests on it.
    read_s: float = 8.0
    # The wait for a free slot, which is no time of the provider, and as long again for a connection.
    wait_s: float = 5.0
    # The time of a whole request, from the connection to the last byte of the answer.
    total_s: float = 12.0
    # Connections that are idle for longer are closed: NAT gateways forget them, and load balancers close them.
    idle_s: float = 120.0
    connections: int = 64
    # Requests at a time to one host, so that a host that does not answer leaves slots for the others. HTTP/2 sends
    # them on one connection.
    requests_per_host: int = 64
    requests: int = 256
    # The longest body that is read; more is ignored.
    answer_bytes: int = 16 * 1024


DEFAULT_LIMITS: Final = ClientLimits()


class ProviderUnreachable(Exception):
    """A request got no answer; it is unknown whether it arrived. The message says why."""


class ConnectionLost(ProviderUnreachable):
    """The provider closed the connection, or the stream, before it answered."""


class ClientBusy(ProviderUnreachable):
    """The request was not sent: too many others wait for their answers."""

    def __init__(self, host: str) -> None:
        super().__init__(f"not sent to {host}: too many requests wait for answers")


class Connections:
    """Posts requests over kept connections, HTTP/2 where the server speaks it. Close them when the process stops.

    Raise ConfigurationError if the file of authorities cannot be read.
    """

    def __init__(self, clock: Clock, ca_file: Path | None, limits: ClientLimits) -> None:
        self._clock = clock
        self._tls = _tls_context(ca_file)
        self._limits = limits
        self._client = _client(self._tls, limits)
        # Replaced clients, and the times at which their last requests have ended.
        self._replaced: deque[tuple[float, httpx2.AsyncClient]] = deque()
        # They log addresses, which are the secrets of Web Push subscriptions, and headers with credentials.
        for name in ("httpx2", "httpcore2", "h2", "hpack"):
            logging.getLogger(name).setLevel(logging.WARNING)

    async def close(self) -> None:
        """Close all connections."""
        for _, client in self._replaced:
            await client.aclose()
        await self._client.aclose()

    async def post(
        self, url: httpx2.URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return the status, headers and body of an answer. Raise ProviderUnreachable.

        The caller limits the time to `total_s`.
        """
        await self._close_replaced()
        client = self._client
        try:
            try:
                return await self._exchange(client, url, headers, body)
            except httpx2.WriteError:
                # The server closed the connection while it was idle, which shows at the first write.
                return await self._exchange(client, url, headers, body)
            except httpx2.LocalProtocolError as error:
                if not _ran_out_of_streams(error):
                    raise
                self._replace(client)
                return await self._exchange(self._client, url, headers, body)
        except httpx2.PoolTimeout as error:
            raise ClientBusy(url.host) from error
        except _ERRORS as error:
            raise no_answer(url.host, error) from error

    async def _exchange(
        self, client: httpx2.AsyncClient, url: httpx2.URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        async with client.stream("POST", url, headers=headers, content=body) as response:
            received = bytearray()
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) >= self._limits.answer_bytes:
                    break
        return response.status_code, response.headers, bytes(received[: self._limits.answer_bytes])

    def _replace(self, client: httpx2.AsyncClient) -> None:
        """Replace `client`, if no other request has done so; its requests go on.

        A request that is abandoned keeps its stream at the server, as httpx2 does not reset it. Once the server's
        limit is reached, the library would try the connection for ever.
        """
        if client is self._client:
            self._client = _client(self._tls, self._limits)
            self._replaced.append((self._clock.monotonic() + self._limits.total_s, client))

    async def _close_replaced(self) -> None:
        while self._replaced and self._replaced[0][0] <= self._clock.monotonic():
            _, client = self._replaced.popleft()
            await client.aclose()


def no_answer(host: str, error: Exception) -> ProviderUnreachable:
    """Return the failure of a request by the error of its connection, whose own text may contain an address."""
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return ProviderUnreachable(f"no answer from {host}: timed out")
    if isinstance(error, httpx2.ConnectError):
        return ProviderUnreachable(f"no answer from {host}: the connection failed")
    return ConnectionLost(f"no answer from {host}: the connection was lost")


def _ran_out_of_streams(error: httpx2.LocalProtocolError) -> bool:
    causes = error.__cause__.args if error.__cause__ is not None else ()
    return any(isinstance(cause, h2.exceptions.TooManyStreamsError) for cause in causes)


def _client(tls: ssl.SSLContext, limits: ClientLimits) -> httpx2.AsyncClient:
    transport = httpx2.AsyncHTTPTransport(
        verify=tls,
        http2=True,
        limits=httpx2.Limits(
            max_connections=limits.connections,
            max_keepalive_connections=limits.connections,
            keepalive_expiry=limits.idle_s,
        ),
        # The environment's proxies and certificates are not those of these connections.
        trust_env=False,
    )
    return httpx2.AsyncClient(
        transport=transport,
        timeout=httpx2.Timeout(limits.read_s, connect=limits.connect_s, pool=limits.wait_s),
        # An answer is read as it comes: one that is small when compressed may be large.
        headers={"accept-encoding": "identity", "user-agent": "parley-notify"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        trust_env=False,
    )


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigurationError(
            f"The file of authorities {ca_file} cannot be used: {error}. It must be a PEM file with the certificates "
            "that sign those of the push providers."
        ) from None

"""Requests to S3: signed, bounded in time and in number, and with the store's failures as StoreUnavailable."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx2
from minio.credentials.credentials import Credentials

from media_service.settings import S3Settings
from media_service.storage.exact_body import ExactBody
from media_service.storage.s3_bucket import NO_QUERY, S3Bucket
from media_service.storage.s3_outages import S3OutageWatch
from media_service.storage.s3_responses import parse_refusal
from media_service.storage.s3_signing import S3Signer
from servicekit.clock import Clock
from servicekit.config import ConfigurationError
from servicekit.errors import StoreUnavailable

# uvloop reads all that a socket has before a reader can pause it: 5 MiB a connection with the default of the kernel.
RECEIVE_BUFFER_BYTES: Final = 256 * 1024

_NO_HEADERS: Final[Mapping[str, str]] = {}
# The errors of a connection that was lost before the answer came.
_LOST: Final = (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class S3Limits:
    """The limits of time, in seconds, and of number."""

    connect_s: float = 2.0
    # Of a whole call that transfers no object.
    control_s: float = 5.0
    # Of joining parts: a store may copy them.
    complete_s: float = 30.0
    # Of sending or receiving one chunk of a transfer, and of a free connection.
    chunk_s: float = 10.0
    # A store answers a put once all bytes are stored: within `chunk_s`, and the time of the bytes at this rate.
    stored_bytes_per_s: int = 8 * 1024 * 1024
    # Transfers last as long as the clients at their other ends need, so control calls have connections of their own. A
    # transfer needs up to 1.5 MiB of memory.
    transfers: int = 256
    control_connections: int = 16
    # Stores close idle connections after 20 s or more. Closing them earlier keeps a put, whose source cannot be read
    # twice, from being sent on a connection that the store closes at that moment.
    idle_s: float = 5.0
    # Of the items in a page of a listing. S3 has no larger pages.
    page_items: int = 1000


DEFAULT_LIMITS: Final = S3Limits()


@dataclass(frozen=True, slots=True)
class S3Answer:
    """A successful answer: its headers, with names in any case, and its body."""

    headers: httpx2.Headers
    body: bytes


class S3Transport:
    """Sends requests to one bucket. `operation` names the request in logs and metrics."""

    def __init__(self, settings: S3Settings, clock: Clock, limits: S3Limits) -> None:
        self.bucket = S3Bucket(settings.s3_url, settings.s3_bucket, settings.s3_addressing)
        self.signer = S3Signer(
            Credentials(settings.s3_access_key, settings.s3_secret_key.get_secret_value()), settings.s3_region
        )
        self._clock = clock
        self.outages = S3OutageWatch(clock)
        tls = _tls_context(settings)
        self._limits = limits
        self._control = _client(tls, limits, limits.control_s, limits.control_connections)
        self._transfers = _client(tls, limits, limits.chunk_s, limits.transfers)

    async def close(self) -> None:
        """Close all connections."""
        await self._control.aclose()
        await self._transfers.aclose()

    def now(self) -> datetime:
        """Return the time for signatures."""
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)

    async def call(
        self,
        operation: str,
        method: str,
        key: str = "",
        query: Mapping[str, str] = NO_QUERY,
        body: bytes = b"",
        timeout_s: float | None = None,
    ) -> S3Answer:
        """Return the answer to a request that transfers no object; it is sent again if its connection was lost.

        `timeout_s` is the time limit of the call, by default that of control calls. An attempt whose connection was
        lost may have taken effect. Raise StoreUnavailable, also if the store refuses every request of this service, and
        S3Refusal for other refusals.
        """
        response = await self._exchange(operation, method, key, query, body, timeout_s)
        self._check(operation, response)
        return S3Answer(response.headers, response.content)

    async def probe(self, operation: str, method: str, query: Mapping[str, str] = NO_QUERY, body: bytes = b"") -> None:
        """Send a request about the bucket itself. Raise StoreUnavailable during an outage, S3Refusal otherwise."""
        response = await self._exchange(operation, method, "", query, body, None)
        refusal = parse_refusal(response.status_code, response.content)
        if refusal is not None and not refusal.is_outage:
            if refusal.is_denial and refusal.code != "NoSuchBucket":
                # Other requests fail for the same reason; a missing bucket is created.
                self.outages.record_failure(operation, str(refusal))
            raise refusal
        self._check(operation, response)

    async def _exchange(
        self, operation: str, method: str, key: str, query: Mapping[str, str], body: bytes, timeout_s: float | None
    ) -> httpx2.Response:
        timeout_s = self._limits.control_s if timeout_s is None else timeout_s
        url = self.bucket.url(key, query)
        headers = self.signer.sign_headers(method, url, _NO_HEADERS, self.now(), body)
        # A wait for a free connection ends before the call does: only a store that does not answer is an outage.
        timeout = httpx2.Timeout(timeout_s, connect=self._limits.connect_s, pool=timeout_s / 2)
        request = self._control.build_request(method, url.geturl(), headers=headers, content=body, timeout=timeout)
        try:
            async with asyncio.timeout(timeout_s):
                return await _send_again_if_lost(self._control, request)
        except (httpx2.HTTPError, OSError) as error:
            raise self._unavailable(operation, error) from error

    async def send(self, operation: str, key: str, body: ExactBody) -> None:
        """Store an object. Raise StoreUnavailable, S3Refusal, and what the source of `body` raises."""
        url = self.bucket.url(key)
        content = {"content-length": str(body.size_bytes), "content-type": "application/octet-stream"}
        headers = self.signer.sign_headers("PUT", url, content, self.now(), None)
        chunk_s = self._limits.chunk_s
        answer_s = chunk_s + body.size_bytes / self._limits.stored_bytes_per_s
        timeout = httpx2.Timeout(chunk_s, connect=self._limits.connect_s, read=answer_s)
        try:
            response = await self._transfers.put(url.geturl(), headers=headers, content=body, timeout=timeout)
        except (httpx2.HTTPError, OSError) as error:
            if body.failure is not None:
                raise body.failure from None
            raise self._unavailable(operation, error) from error
        self._check(operation, response)

    async def receive(self, operation: str, key: str, headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of an object in chunks of at most 64 KiB. Raise StoreUnavailable, S3Refusal."""
        url = self.bucket.url(key)
        signed = self.signer.sign_headers("GET", url, headers, self.now(), b"")
        request = self._transfers.build_request("GET", url.geturl(), headers=signed)
        try:
            response = await _send_again_if_lost(self._transfers, request, stream=True)
            async with aclosing(response):
                if not response.is_success:
                    await response.aread()
                    self._check(operation, response)
                async for chunk in response.aiter_raw():
                    yield chunk
        except (httpx2.HTTPError, OSError) as error:
            raise self._unavailable(operation, error) from error
        self.outages.record_success()

    def _check(self, operation: str, response: httpx2.Response) -> None:
        """Raise the refusal of an answer, if it is one."""
        refusal = parse_refusal(response.status_code, response.content)
        if refusal is not None and (refusal.is_outage or refusal.is_denial):
            self.outages.record_failure(operation, str(refusal))
            raise StoreUnavailable("the file store does not serve requests at present") from refusal
        self.outages.record_success()
        if refusal is not None:
            raise refusal

    def _unavailable(self, operation: str, error: Exception) -> StoreUnavailable:
        if isinstance(error, httpx2.PoolTimeout):
            return StoreUnavailable("all connections to the file store are in use")
        self.outages.record_failure(operation, f"{type(error).__name__} {error}".strip())
        return StoreUnavailable("the file store does not answer")


async def _send_again_if_lost(
    client: httpx2.AsyncClient, request: httpx2.Request, *, stream: bool = False
) -> httpx2.Response:
    """Return the answer to a request with a body that can be sent twice."""
    try:
        return await client.send(request, stream=stream)
    except _LOST:
        return await client.send(request, stream=stream)


def _client(tls: ssl.SSLContext, limits: S3Limits, timeout_s: float, connections: int) -> httpx2.AsyncClient:
    transport = httpx2.AsyncHTTPTransport(
        verify=tls,
        limits=httpx2.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=limits.idle_s
        ),
        socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)],
        # The environment's proxies and certificates are not those of this connection.
        trust_env=False,
    )
    return httpx2.AsyncClient(
        transport=transport,
        timeout=httpx2.Timeout(timeout_s, connect=limits.connect_s),
        # The bytes are those that were stored, and their number is known.
        headers={"accept-encoding": "identity", "user-agent": "parley-media"},
        trust_env=False,
    )


def _tls_context(settings: S3Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.s3_ca_file)
    except OSError as error:
        raise ConfigurationError(
            f"PARLEY_S3_CA_FILE is wrong: {settings.s3_ca_file} is no PEM file: {error}."
        ) from None

"""Requests to signed URLs of the store of files: a PUT of a part, and a GET of a range."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping

import httpx2

from parley_client.door import Door
from parley_client.errors import NotFound, ParleyError

BLOCK_BYTES = 256 * 1024
# Without a byte for so long, a request has failed.
IDLE_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10.0
# Statuses of requests that may succeed if they are repeated.
_RETRYABLE = frozenset({408, 425, 429, *range(500, 600)})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class UrlExpired(Exception):
    """The store refuses the signature: the URL has expired, and a fresh one is needed."""


class StoreBusy(Exception):
    """The store did not answer, or asked for a repetition."""


class ObjectStore:
    """A client of signed URLs. The URLs come from the server, so that any S3 store may be behind them."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._client: httpx2.AsyncClient | None = None

    async def put(self, url: str, headers: Mapping[str, str], body: AsyncIterator[bytes], size_bytes: int) -> None:
        """Store `size_bytes` bytes. Raises UrlExpired, StoreBusy, ParleyError, and the errors of `body`."""
        request_headers = {**headers, "content-length": str(size_bytes)}
        try:
            response = await self._open_client().put(url, headers=request_headers, content=body)
        except httpx2.TransportError as error:
            raise StoreBusy(_describe(error)) from error
        if response.status_code == 400 and b"RequestTimeout" in response.content:
            raise StoreBusy("the store of the files did not get the part in time")
        _check(response.status_code)

    async def get(self, url: str, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """Yield at most `length` bytes from `offset`. Raises UrlExpired, StoreBusy and ParleyError."""
        headers = {"range": f"bytes={offset}-{offset + length - 1}", "accept-encoding": "identity"}
        try:
            async with self._open_client().stream("GET", url, headers=headers) as response:
                _check(response.status_code)
                found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
                if response.status_code != 206 or found is None or int(found[1]) != offset:
                    raise ParleyError("the store of the files does not serve ranges", code="UNIMPLEMENTED")
                async for block in response.aiter_raw(BLOCK_BYTES):
                    yield block
        except httpx2.TransportError as error:
            raise StoreBusy(_describe(error)) from error

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _open_client(self) -> httpx2.AsyncClient:
        if self._client is None:
            timeout = httpx2.Timeout(IDLE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, pool=None)
            self._client = httpx2.AsyncClient(timeout=timeout, verify=self._tls_context())
        return self._client

    def _tls_context(self) -> ssl.SSLContext:
        """Return the system's certificates and those of the door: a deployment may sign both names itself."""
        context = ssl.create_default_context()
        if self._door.tls is not None and self._door.tls.root_certificates is not None:
            context.load_verify_locations(cadata=self._door.tls.root_certificates.decode("latin-1"))
        return context


def headers_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers of the contract as a mapping, without the length, which the request sets itself."""
    return {name: value for name, value in pairs if name.lower() not in ("content-length", "host")}


def _check(status: int) -> None:
    if status in (401, 403):
        raise UrlExpired
    if status in _RETRYABLE:
        raise StoreBusy(f"the store of the files answered {status}")
    if status == 404:
        raise NotFound("the store of the files has no such file any more", code="NOT_FOUND")
    if status >= 300:
        raise ParleyError(f"the store of the files refused the request with status {status}", code="UNKNOWN")


def _describe(error: httpx2.TransportError) -> str:
    return f"the store of the files cannot be reached ({type(error).__name__})"

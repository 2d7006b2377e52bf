"""A minimal HTTP/1.1 client that sends and receives large bodies at the cost of the system calls."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from devstack.errors import SetupError

TIMEOUT_S: Final = 60.0
_END: Final = b"\r\n\r\n"
_READ_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A GET, or a PUT if there is a `body`, which may be in pieces."""

    url: str
    body: Sequence[memoryview] = ()

    @property
    def head(self) -> bytes:
        """The request line and the headers."""
        url, size = urlsplit(self.url), sum(map(len, self.body))
        method, length = ("PUT", f"content-length: {size}\r\n") if self.body else ("GET", "")
        return f"{method} {url.path}?{url.query} HTTP/1.1\r\nhost: {url.netloc}\r\n{length}\r\n".encode()


class HttpConnection:
    """A connection to one origin, `http://host:port`; a context manager. The bytes of answers are not kept."""

    def __init__(self, origin: str) -> None:
        url = urlsplit(origin)
        self._socket = socket.create_connection((url.hostname, url.port), TIMEOUT_S)
        self._buffer = memoryview(bytearray(_READ_BYTES))

    def exchange(self, request: Request) -> int:
        """Send a request and return the size of the body that was sent or received. Raise SetupError if refused."""
        self._socket.sendall(request.head)
        for piece in request.body:
            self._socket.sendall(piece)
        received = self._receive_body()
        return sum(map(len, request.body)) or received

    def _receive_body(self) -> int:
        """Receive an answer, and return the size of its body. Raise SetupError if it is not a success."""
        head, body = self._receive_head()
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        size = int(headers.get("content-length", "0"))
        left = size - len(body)
        while left > 0:
            left -= self._receive(min(left, _READ_BYTES))
        if not lines[0].split()[1].startswith("2"):
            raise SetupError(f"The S3 store refused a request of the benchmark: {lines[0]}.")
        return size

    def _receive_head(self) -> tuple[bytes, bytes]:
        """Return the head of an answer, and the part of its body that came with it."""
        data = b""
        while _END not in data:
            data += self._buffer[: self._receive(_READ_BYTES)]
        head, _, body = data.partition(_END)
        return head, body

    def _receive(self, count: int) -> int:
        received = self._socket.recv_into(self._buffer, count)
        if not received:
            raise SetupError("The S3 store, or Envoy in front of it, closed a connection of the benchmark.")
        return received

    def __enter__(self) -> HttpConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


def exchange_all(origin: str, requests: Sequence[Request], connections: int) -> int:
    """Exchange requests over several connections, in threads; return the sum of the sizes of the bodies."""

    def exchange_some(first: int) -> int:
        try:
            with HttpConnection(origin) as connection:
                return sum(map(connection.exchange, islice(requests, first, None, connections)))
        except OSError as error:
            raise SetupError(f"A transfer of the benchmark failed: {error}.") from None

    with ThreadPoolExecutor(connections) as threads:
        return sum(threads.map(exchange_some, range(connections)))

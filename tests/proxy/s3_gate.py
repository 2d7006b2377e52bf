"""A relay in front of an S3 store that stops at one request, so that a server can be killed at exactly that moment."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

_LOOPBACK: Final = "127.0.0.1"
_CHUNK: Final = 1 << 16
_REQUEST: Final = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1\r\n")
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Stop:
    """A moment to stop at: the first request whose method and target (path and query) match `pattern`.

    The request is not passed on, or with `answered` its answer is not, until the stop is released. `reached` is set
    once it is held: the whole request, with its body, so that its sender may be frozen or killed. `status` is that of
    the answer to a request that was held and passed on; 0: there is none yet.
    """

    pattern: re.Pattern[str]
    answered: bool
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    passes: bool = True
    # What was held: a path and a query.
    target: str = ""
    status: int = 0

    def release(self) -> None:
        """Pass on what is held."""
        self.released.set()

    def drop(self) -> None:
        """Forget what is held: the server that would have sent or got it is dead."""
        self.passes = False
        self.released.set()


class S3Gate:
    """A context manager; a server takes `url` for the store at `target` (`host:port`), which may be set later.

    It needs no event loop, so that it may live as long as a system that several tests share.
    """

    def __init__(self, target: str = "") -> None:
        self.target = target
        self._listener = socket.create_server((_LOOPBACK, 0))
        self._stops: list[Stop] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Return the origin of the gate."""
        return f"http://{_LOOPBACK}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> S3Gate:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for stop in self._stops:
            stop.drop()
        # Wakes the thread that accepts.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @contextmanager
    def stop_at(self, pattern: str, *, answered: bool = False) -> Iterator[Stop]:
        """Stop at the first request that matches, such as `PUT .*/sent`, until the end of the block at the latest."""
        stop = Stop(re.compile(pattern), answered)
        with self._lock:
            self._stops.append(stop)
        try:
            yield stop
        finally:
            stop.drop()
            with self._lock:
                self._stops = [each for each in self._stops if each is not stop]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        host, _, port = self.target.rpartition(":")
        try:
            store = socket.create_connection((host, int(port)))
        except OSError:
            client.close()
            return
        connection = _Connection(self, client, store)
        threading.Thread(target=connection.pass_answers, daemon=True).start()
        connection.pass_requests()

    def find_stop(self, request: bytes) -> Stop | None:
        """Return the stop that a chunk of bytes reaches, if it begins a request."""
        if (head := _REQUEST.match(request)) is None:
            return None
        line = b" ".join(head.groups()).decode()
        with self._lock:
            for stop in self._stops:
                if not stop.target and stop.pattern.search(line):
                    stop.target = line.partition(" ")[2]
                    return stop
        return None


class _Connection:
    """One connection of a client, and the one to the store for it. A client sends one request after the other."""

    def __init__(self, gate: S3Gate, client: socket.socket, store: socket.socket) -> None:
        self._gate = gate
        self._client = client
        self._store = store
        # Whose answer is to be held, and whose request was held.
        self._held: Stop | None = None
        self._passed_on: Stop | None = None

    def pass_requests(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(_CHUNK):
                if (stop := self._gate.find_stop(data)) is not None:
                    if stop.answered:
                        self._held = stop
                    else:
                        data = self._receive_rest(data)
                        stop.reached.set()
                        if not _wait(stop):
                            break
                        self._passed_on = stop
                self._store.sendall(data)
        self._shut_down()
        self._client.close()

    def _receive_rest(self, request: bytes) -> bytes:
        """Return the whole request that begins with these bytes. Raise ConnectionError if its sender leaves."""
        while (end := request.find(_HEAD_END)) < 0:
            request += self._receive()
        length = _LENGTH.search(request, 0, end + len(_HEAD_END))
        size = end + len(_HEAD_END) + (int(length[1]) if length else 0)
        while len(request) < size:
            request += self._receive()
        return request

    def _receive(self) -> bytes:
        if data := self._client.recv(_CHUNK):
            return data
        raise ConnectionError("the sender closed the connection within a request")

    def pass_answers(self) -> None:
        with suppress(OSError):
            while data := self._store.recv(_CHUNK):
                if self._passed_on is not None:
                    self._passed_on.status = int(data.split(b" ", 2)[1])
                    self._passed_on = None
                if (stop := self._held) is not None:
                    stop.reached.set()
                    if not _wait(stop):
                        break
                    self._held = None
                self._client.sendall(data)
        self._shut_down()
        self._store.close()

    def _shut_down(self) -> None:
        for end in (self._client, self._store):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _wait(stop: Stop) -> bool:
    """Wait until the stop is released, and return whether what it holds is passed on."""
    stop.released.wait()
    return stop.passes

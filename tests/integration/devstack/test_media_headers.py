"""The requests that Envoy forwards from its listener for media, seen by a store that records them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

import pytest

from devstack.layout import StoreAddresses
from devstack.s3 import S3Address, S3Keys
from devstack.stack import Stack
from tests.integration.devstack.presigned import request, sign

pytestmark = [pytest.mark.integration, pytest.mark.e2e]

# In place of the limit of the configuration.
IDLE_S: Final = 2
MARGIN_S: Final = 15
# The key of an object without an end.
ENDLESS: Final = "endless"


class RecordingStore(ThreadingHTTPServer):
    """A store that records requests, and answers them while `answers` is set.

    It sets `aborted` when the reader of an endless object has gone, to which it has sent `sent_bytes`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.answers = threading.Event()
        self.answers.set()
        self.aborted = threading.Event()
        self.sent_bytes = 0


class _Handler(BaseHTTPRequestHandler):
    server: RecordingStore
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers))
        self.rfile.read(int(headers.get("content-length", "0")))
        self.server.answers.wait()
        if ENDLESS in self.path:
            self._send_endless()
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.send_header("Set-Cookie", "a=b")
        self.send_header("Content-Security-Policy", "default-src *")
        self.send_header("Access-Control-Allow-Credentials", "true")
        self.end_headers()

    def _send_endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 40))
        self.end_headers()
        try:
            while True:
                self.server.sent_bytes += self.connection.send(bytes(65536))
        except OSError:
            self.server.aborted.set()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture(scope="module")
def store() -> Iterator[RecordingStore]:
    with RecordingStore() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.answers.set()
        server.shutdown()


@pytest.fixture(scope="module")
def stack(store: RecordingStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    address = S3Address(f"http://127.0.0.1:{store.server_port}", S3Keys("A" * 20, "secret"))
    stores = StoreAddresses("mongodb://none", "redis://none", "none:1", address)
    stack = Stack(tmp_path_factory.mktemp("media"), only=["envoy"], stores=stores)
    file = stack.layout.envoy.configuration
    configured = file.read_text()
    assert configured.count("stream_idle_timeout: 30s") == 1
    file.write_text(configured.replace("stream_idle_timeout: 30s", f"stream_idle_timeout: {IDLE_S}s"))
    with stack:
        yield stack


def test_address_is_forwarded_as_signed_and_credentials_are_not(stack: Stack, store: RecordingStore) -> None:
    target = sign(stack, "PUT", "a/key_with~all.of-them")
    sent = {
        "authorization": "Bearer token",
        "cookie": "session=1",
        "origin": "https://app.example",
        "x-forwarded-host": "other.example",
        "x-forwarded-port": "1",
        "x-forwarded-prefix": "/media",
        "content-type": "image/png",
    }
    answer = request(stack, "PUT", target, headers=sent)
    method, path, headers = store.requests[-1]
    assert (method, path) == ("PUT", target)
    assert headers["host"] == urlsplit(stack.media_origin).netloc
    assert headers["content-type"] == "image/png"
    assert not set(sent) & set(headers) - {"content-type"}
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert not {"set-cookie", "access-control-allow-credentials"} & set(answer.headers)


def test_silent_store_costs_the_idle_time_and_no_more(stack: Stack, store: RecordingStore) -> None:
    store.answers.clear()
    began = time.monotonic()
    answer = request(stack, "GET", sign(stack, "GET", "slow"))
    store.answers.set()
    assert answer.status in (408, 504)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert time.monotonic() - began < IDLE_S + MARGIN_S


def test_upload_that_stops_is_ended(stack: Stack) -> None:
    target, host = sign(stack, "PUT", "stuck"), urlsplit(stack.media_origin).netloc
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", stack.layout.ports.media), timeout=IDLE_S + MARGIN_S) as upload:
        upload.sendall(f"PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2000\r\n\r\n".encode() + b"x" * 1000)
        answer = upload.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < IDLE_S + MARGIN_S


def test_download_that_is_not_read_is_ended(stack: Stack, store: RecordingStore) -> None:
    target, host = sign(stack, "GET", ENDLESS), urlsplit(stack.media_origin).netloc
    with socket.create_connection(("127.0.0.1", stack.layout.ports.media)) as download:
        download.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        # The store notices that Envoy has closed its connection.
        assert store.aborted.wait(IDLE_S + MARGIN_S)
    assert store.sent_bytes < 64 << 20

"""The clients of the media workloads, against other servers than those that are measured."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import grpc
import pytest

from bench.media.content import PART_BYTES, Contents, digest_of
from bench.media.http1 import Request, exchange_all
from bench.media.http2_download import download
from devstack.errors import SetupError

STORED: Final[dict[str, bytes]] = {}


class Handler(BaseHTTPRequestHandler):
    """Stores what is PUT, and serves it."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        STORED[self.path] = self.rfile.read(int(self.headers["content-length"]))
        self._answer(200, b"")

    def do_GET(self) -> None:
        found = STORED.get(self.path)
        self._answer(200 if found else 404, found or b"nothing here")

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def origin() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_bodies_in_pieces_arrive_whole_over_several_connections(origin: str) -> None:
    bodies = [os.urandom(300_000 + number) for number in range(5)]
    requests = [
        Request(f"{origin}/file?number={number}", [memoryview(body)[:10], memoryview(body)[10:]])
        for number, body in enumerate(bodies)
    ]
    size = sum(map(len, bodies))
    assert exchange_all(origin, requests, 2) == size
    assert [STORED[f"/file?number={number}"] for number in range(5)] == bodies
    assert exchange_all(origin, [Request(request.url) for request in requests], 3) == size


def test_refused_request_is_reported_with_its_status(origin: str) -> None:
    with pytest.raises(SetupError, match="404"):
        exchange_all(origin, [Request(f"{origin}/other?")], 1)


def test_no_two_contents_are_identical() -> None:
    contents = Contents(2 * PART_BYTES)
    files = [contents.next_parts() for _ in range(3)]
    assert len({digest_of(parts) for parts in files}) == 3
    assert {sum(len(piece) for part in parts for piece in part) for parts in files} == {2 * PART_BYTES}
    chunks = [contents.next_chunks(100_000, 65_536) for _ in range(2)]
    assert [len(chunk) for chunk in chunks[0]] == [65_536, 34_464]
    assert chunks[0] != chunks[1]


def test_stream_is_downloaded_whole() -> None:
    def serve(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        assert dict(context.invocation_metadata())["authorization"] == "Bearer x"
        yield from [request * 1000] * 50

    class Service(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> Any:
            return grpc.unary_stream_rpc_method_handler(serve)

    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([Service()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    request = os.urandom(70)
    received = download(f"127.0.0.1:{port}", "/some.Service/Get", {"authorization": "Bearer x"}, request)
    server.stop(None).wait()
    assert received == 50 * (5 + 70_000)

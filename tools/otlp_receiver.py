"""A receiver of traces by OTLP over HTTP, in a thread of this process, for tests and for the picture of a trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from types import TracebackType
from typing import Final, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Span:
    """A received span. Ids are hex digits, `parent_id` is empty for a root; times are in nanoseconds since 1970.

    `links` are trace and span ids; `service` and `instance` are those of the process that recorded it.
    """

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    service: str
    instance: str
    attributes: Mapping[str, str | int | float | bool]
    links: tuple[tuple[str, str], ...] = ()


class OtlpReceiver:
    """Receives spans at `endpoint` while its `with` block runs. Reads all spans and the bytes of all exports."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.exports: list[bytes] = []
        self._news = Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def endpoint(self) -> str:
        """The address for exporters, http://host:port."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, is_complete: Callable[[Sequence[Span]], object], timeout_s: float = TIMEOUT_S) -> list[Span]:
        """Block until `is_complete` is true of the spans so far, and return them. Raise TimeoutError."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while not is_complete(self.spans):
                if not self._news.wait(deadline - time.monotonic()):
                    names = sorted({f"{span.service} {span.name}" for span in self.spans})
                    raise TimeoutError(f"the spans are not complete after {timeout_s:g} s; there are {names}")
            return list(self.spans)

    def _receive(self, export: bytes) -> None:
        spans = decode_export(export)
        with self._news:
            self.exports.append(export)
            self.spans += spans
            self._news.notify_all()

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        receive = self._receive

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receive(b"".join(self._read_body()))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def _read_body(self) -> Iterator[bytes]:
                if (length := self.headers["content-length"]) is not None:
                    yield self.rfile.read(int(length))
                    return
                # Envoy sends chunks: each after its size in hex, the last one is empty, and a blank line follows each.
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
                """Log nothing."""

        Handler.protocol_version = "HTTP/1.1"
        return Handler


def decode_export(export: bytes) -> list[Span]:
    """Return the spans in a serialised ExportTraceServiceRequest."""
    spans = list[Span]()
    for resource in ExportTraceServiceRequest.FromString(export).resource_spans:
        source = _attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            spans += [_decode(span, source) for span in scope.spans]
    return spans


def _decode(span: WireSpan, source: Mapping[str, str | int | float | bool]) -> Span:
    return Span(
        span.name,
        WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        str(source.get("service.name", "")),
        str(source.get("service.instance.id", "")),
        _attributes(span.attributes),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, str | int | float | bool]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> str | int | float | bool:
    kind = value.WhichOneof("value")
    found = getattr(value, kind) if kind else ""
    return found if isinstance(found, str | int | float | bool) else str(found)

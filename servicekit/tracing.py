"""Traces over OTLP: the spans of calls, and spans that are started and ended by hand where there is no call."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from servicekit.clock import SystemClock
from servicekit.config import ConfigurationError
from servicekit.failure import Failure
from servicekit.rate_limiter import TokenBucket

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.sampling import Sampler

Attributes = Mapping[str, str | int | float | bool]

# The traces that clients may ask for at once, in seconds of their rate.
CLIENT_BURST_S: Final = 10
_NO_SPAN: AbstractContextManager[Any] = nullcontext()
_NO_ATTRIBUTES: Attributes = {}
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


class _Tracing:
    """The tracing of the process; both tracers are None while it is off, and then a span costs nothing.

    `calls` samples the traces of calls; `sampled` records the spans of traces that are sampled already.
    """

    calls: trace.Tracer | None = None
    sampled: trace.Tracer | None = None
    ratio: float = 0.0
    clients: TokenBucket | None = None


class OpenSpan:
    """A span of a sampled trace; whoever started it ends it. `traceparent` is its context, for what it causes."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.traceparent = _format(span.get_span_context())

    def end(self, attributes: Attributes = _NO_ATTRIBUTES, *, failure: Failure | None = None) -> None:
        """End the span now, with more attributes. A `failure` makes it an error, of which it keeps the reason alone.

        Only the first call has an effect.
        """
        if not self._span.is_recording():
            return
        self._span.set_attributes({**attributes})
        if failure is not None:
            self._span.set_attribute("error.type", failure.reason or failure.code)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def configure_tracing(
    service_name: str,
    *,
    endpoint: str | None = None,
    sample_ratio: float = 1.0,
    client_rate: float = 0.0,
    instance: str = "",
) -> Callable[[], None]:
    """Send traces to an OTLP endpoint (http://host:4318); None disables tracing. Return a function that flushes it.

    `sample_ratio` (0 to 1) is the share of the traces started here that are sampled, 0 disables tracing too; a trace
    started elsewhere keeps its sampling decision. `client_rate` bounds the traces a second that `admit_client` admits.
    `instance` names this process among those of its service. Raises ConfigurationError if the exporter is not
    installed.
    """
    if not endpoint or sample_ratio <= 0:
        return lambda: None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBasedTraceIdRatio

    processor = BatchSpanProcessor(_create_exporter(endpoint))
    resource = Resource.create(
        {"service.namespace": "parley", "service.name": service_name, "service.instance.id": instance}
    )
    _Tracing.calls = _make_tracer(resource, processor, ParentBasedTraceIdRatio(min(sample_ratio, 1.0)))
    _Tracing.sampled = _make_tracer(resource, processor, ALWAYS_ON)
    _Tracing.ratio = sample_ratio
    burst = max(1.0, client_rate * CLIENT_BURST_S)
    _Tracing.clients = TokenBucket(client_rate, burst, SystemClock()) if client_rate > 0 else None

    def close() -> None:
        _Tracing.calls = _Tracing.sampled = _Tracing.clients = None
        processor.shutdown()  # type: ignore[no-untyped-call]

    return close


def _make_tracer(resource: Resource, processor: SpanProcessor, sampler: Sampler) -> trace.Tracer:
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider.get_tracer("parley")


def span(
    name: str, carrier: Mapping[str, str] | None = None, *, kind: SpanKind = SpanKind.INTERNAL
) -> AbstractContextManager[Any]:
    """Return a span for a `with` block: a child of the span that `carrier` identifies, else of the current span."""
    tracer = _Tracing.calls
    if tracer is None:
        return _NO_SPAN
    context = propagate.extract(carrier) if carrier else None
    # The message of an exception may hold content of users.
    return tracer.start_as_current_span(
        name, context=context, kind=kind, record_exception=False, set_status_on_exception=False
    )


def set_status(code: str) -> None:
    """Set the gRPC status code of the call whose span is the current one."""
    if _Tracing.calls is not None:
        current = trace.get_current_span()
        current.set_attribute("rpc.response.status_code", code)
        if code not in ("OK", "CANCELLED"):
            current.set_status(StatusCode.ERROR)


def trace_carrier() -> dict[str, str]:
    """Return the current span as `traceparent` metadata for a downstream call; empty if tracing is off."""
    carrier: dict[str, str] = {}
    if _Tracing.calls is not None:
        propagate.inject(carrier)
    return carrier


def is_enabled() -> bool:
    """Return True if this process records traces."""
    return _Tracing.sampled is not None


def current_traceparent() -> str:
    """Return the traceparent of the current span; empty unless its trace is sampled."""
    if _Tracing.sampled is None:
        return ""
    context = trace.get_current_span().get_span_context()
    return _format(context) if context.is_valid and context.trace_flags.sampled else ""


def current_trace_id() -> str:
    """Return the id of the trace of the current span, 32 hex digits; empty unless it is sampled."""
    return trace_id_of(current_traceparent())


def trace_id_of(traceparent: str) -> str:
    """Return the id of a sampled trace, 32 hex digits; empty for any other text."""
    return traceparent.split("-")[1] if is_sampled(traceparent) else ""


def draw_sample() -> bool:
    """Return True for the share of the calls that is the sampling ratio, at random."""
    return _Tracing.sampled is not None and random.random() < _Tracing.ratio  # noqa: S311  not for cryptography


def admit_client(traceparent: str) -> bool:
    """Return True if a trace that a client has sampled is continued: at most `client_rate` a second are.

    A client chooses its ids and its flags: without this bound it could have everything recorded that it does.
    """
    if _Tracing.sampled is None or _Tracing.clients is None or not is_sampled(traceparent):
        return False
    return _Tracing.clients.take() == 0


def is_sampled(traceparent: str) -> bool:
    """Return True for the traceparent of a sampled trace, False for any other text."""
    context = _parse(traceparent)
    return context is not None and context.trace_flags.sampled


def start_span(
    name: str,
    parent: str = "",
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    links: Sequence[str] = (),
    attributes: Attributes = _NO_ATTRIBUTES,
) -> OpenSpan | None:
    """Start a span of a sampled trace; None if this process records none.

    `parent` and `links` are traceparents. Without a valid parent the span begins a trace. Of the links those to traces
    that are not sampled are left out.
    """
    tracer = _Tracing.sampled
    if tracer is None:
        return None
    context = _parse(parent)
    linked = [Link(each) for each in map(_parse, links) if each is not None and each.trace_flags.sampled]
    return OpenSpan(
        tracer.start_span(
            name,
            # Made from an empty context: a span that happens to be the current one is not the parent.
            trace.set_span_in_context(NonRecordingSpan(context or trace.INVALID_SPAN_CONTEXT), Context()),
            kind,
            {**attributes},
            linked,
            time.time_ns(),
        )
    )


def _parse(traceparent: str) -> SpanContext | None:
    if not traceparent or (match := _TRACEPARENT.fullmatch(traceparent)) is None:
        return None
    trace_id, span_id, flags = (int(group, 16) for group in match.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))


def _format(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _create_exporter(endpoint: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigurationError(
            "Traces need the package opentelemetry-exporter-otlp-proto-http: "
            "run `pip install '.[tracing]'` in the folder of Parley's repository."
        ) from None
    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")

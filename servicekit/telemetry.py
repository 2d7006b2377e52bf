"""What a service tells its operators: structured logs on stderr, metrics over HTTP, traces over OTLP."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import structlog
from opentelemetry import propagate, trace
from prometheus_client import Counter, start_http_server
from structlog.typing import EventDict

from servicekit.config import ConfigurationError, split_address

LogFormat = Literal["json", "console"]

_COMMON_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_LOG_EVENTS = Counter("parley_troubles", "Warnings and errors in the log of this process.", ["logger", "event"])
_NO_SPAN: AbstractContextManager[Any] = nullcontext()


class _Tracing:
    """Whether traces are made at all; while they are not, a span costs nothing."""

    tracer: trace.Tracer | None = None


def configure_logging(format: LogFormat = "json", level: str = "info") -> None:  # noqa: A002  the setting's name
    """Send our logs and those of libraries to stderr. Raises ConfigurationError for an unknown level."""
    severity = logging.getLevelNamesMapping().get(level.upper())
    if severity is None:
        raise ConfigurationError(f"PARLEY_LOG_LEVEL is wrong: there is no level {level!r}.")
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_COMMON_PROCESSORS,
            _count_log_event,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_COMMON_PROCESSORS, processors=_renderers(format))
    )
    logging.basicConfig(handlers=[handler], level=severity, force=True)


def _count_log_event(_: object, __: str, event: EventDict) -> EventDict:
    """Whatever our own code warns of is a metric too; its texts are fixed, what they are about stands beside them."""
    if event["level"] not in ("debug", "info"):
        _LOG_EVENTS.labels(event.get("logger", ""), event["event"]).inc()
    return event


def start_metrics(address: str) -> Callable[[], None]:
    """Serve Prometheus metrics at `address`; returns what ends it. Raises ConfigurationError when taken."""
    host, port = split_address(address)
    try:
        server, thread = start_http_server(port, host)
    except OSError as error:
        raise ConfigurationError(f"Cannot serve metrics at {address}: {error.strerror}.") from None

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close


def configure_tracing(
    service_name: str, *, endpoint: str | None = None, sample_ratio: float = 1.0
) -> Callable[[], None]:
    """Send traces to an OTLP endpoint (http://host:4318); off without one. Returns what flushes and ends it.

    `sample_ratio` (0 to 1) is the share of traces begun here that are kept; those begun elsewhere follow
    their beginning. Raises ConfigurationError when the exporter is not installed.
    """
    if not endpoint or sample_ratio <= 0:
        return lambda: None
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    provider = TracerProvider(
        resource=Resource.create({"service.name": service_name}),
        sampler=ParentBasedTraceIdRatio(min(sample_ratio, 1.0)),
    )
    provider.add_span_processor(BatchSpanProcessor(_create_exporter(endpoint)))
    _Tracing.tracer = provider.get_tracer("servicekit")

    def close() -> None:
        _Tracing.tracer = None
        provider.shutdown()

    return close


def span(
    name: str, carrier: Mapping[str, str] | None = None, *, kind: trace.SpanKind = trace.SpanKind.INTERNAL
) -> AbstractContextManager[Any]:
    """A span around a `with` block: a child of what `carrier` names, else of the current span."""
    tracer = _Tracing.tracer
    if tracer is None:
        return _NO_SPAN
    context = propagate.extract(carrier) if carrier else None
    return tracer.start_as_current_span(name, context=context, kind=kind)


def trace_carrier() -> dict[str, str]:
    """The current span as `traceparent` metadata, for whoever goes on with it; empty when tracing is off."""
    carrier: dict[str, str] = {}
    if _Tracing.tracer is not None:
        propagate.inject(carrier)
    return carrier


def _renderers(format: LogFormat) -> list[Any]:  # noqa: A002
    strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if format == "console":
        return [strip, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return [strip, structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(default=str)]


def _create_exporter(endpoint: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise ConfigurationError(
            "Traces need the package opentelemetry-exporter-otlp-proto-http: "
            "run `pip install '.[tracing]'` in the folder of Parley's repository."
        ) from None
    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")

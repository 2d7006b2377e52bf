"""Telemetry: structured logs on stderr, Prometheus metrics over HTTP, traces over OTLP."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal

import structlog
from opentelemetry import propagate, trace
from prometheus_client import Counter, start_http_server
from structlog.typing import EventDict

from servicekit.config import ConfigurationError, split_address

LogFormat = Literal["json", "console"]

AUDIT_LOGGER: Final = "audit"
"""The logger of the audit log, whose lines are written at any log level."""

_COMMON_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_LOG_EVENTS = Counter("parley_log_events", "Log lines of level warning or above.", ["logger", "event"])
_NO_SPAN: AbstractContextManager[Any] = nullcontext()


class _Tracing:
    """The tracer of the process; None while tracing is off, and then a span costs nothing."""

    tracer: trace.Tracer | None = None


def configure_logging(format: LogFormat = "json", level: str = "info") -> None:  # noqa: A002  the setting's name
    """Write the logs of Parley and of libraries to stderr. Raise ConfigurationError for an unknown level.

    Libraries log from info on whatever the level: at debug pymongo would log its commands, with messages in them.
    """
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
    handler.addFilter(_is_own_or_important)
    logging.basicConfig(handlers=[handler], level=severity, force=True)
    logging.getLogger(AUDIT_LOGGER).setLevel(logging.INFO)


def _is_own_or_important(record: logging.LogRecord) -> bool:
    """Return True for a line of Parley, which structlog made, and for one of a library that is not of level debug."""
    return record.levelno >= logging.INFO or hasattr(record, "_logger")


def log_level() -> str:
    """Return the log level of the process, such as `info`."""
    return logging.getLevelName(logging.getLogger().level).lower()


def set_log_level(level: str) -> None:
    """Change the log level of the process, except for the audit log. Raise ValueError for an unknown level."""
    logging.getLogger().setLevel(level.upper())


def _count_log_event(_: object, __: str, event: EventDict) -> EventDict:
    """Count a warning or error by its text. Texts are constants and variables are fields, so the labels are few."""
    if event["level"] not in ("debug", "info"):
        _LOG_EVENTS.labels(event.get("logger", ""), event["event"]).inc()
    return event


def start_metrics(address: str) -> Callable[[], None]:
    """Serve Prometheus metrics at `address`, and return a function that stops it.

    Raise ConfigurationError if the server cannot listen on the address.
    """
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
    """Send traces to an OTLP endpoint (http://host:4318); None disables tracing. Return a function that flushes it.

    `sample_ratio` (0 to 1) is the share of the traces started here that are sampled; a trace started elsewhere keeps
    its sampling decision. Raises ConfigurationError if the exporter is not installed.
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
    """Return a span for a `with` block: a child of the span that `carrier` identifies, else of the current span."""
    tracer = _Tracing.tracer
    if tracer is None:
        return _NO_SPAN
    context = propagate.extract(carrier) if carrier else None
    return tracer.start_as_current_span(name, context=context, kind=kind)


def trace_carrier() -> dict[str, str]:
    """Return the current span as `traceparent` metadata for a downstream call; empty if tracing is off."""
    carrier: dict[str, str] = {}
    if _Tracing.tracer is not None:
        propagate.inject(carrier)
    return carrier


def trace_id(metadata: Mapping[str, str]) -> str:
    """Return the id of the current trace, or of the one that `metadata` carries: 32 hex digits, or an empty string."""
    carrier = trace_carrier() or metadata
    match carrier.get("traceparent", "").split("-"):
        case [_, found, _, _] if len(found) == 32 and found.isalnum() and found.isascii():
            return found
    return ""


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

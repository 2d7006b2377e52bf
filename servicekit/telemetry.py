"""Telemetry: structured logs on stderr, and Prometheus metrics over HTTP."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Final, Literal

import structlog
from prometheus_client import Counter, start_http_server
from structlog.typing import EventDict

from servicekit.config import ConfigurationError, split_address
from servicekit.log_context import add_context
from servicekit.log_exceptions import describe_exceptions, format_exceptions, is_ours_or_warning

LogFormat = Literal["json", "console"]

AUDIT_LOGGER: Final = "audit"
"""The logger of the audit log, whose lines are written at any log level."""

_COMMON_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    add_context,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_LOG_EVENTS = Counter("parley_log_events", "Log lines of level warning or above.", ["logger", "event"])


def configure_logging(format: LogFormat = "json", level: str = "info") -> None:  # noqa: A002  the setting's name
    """Write the logs of Parley and of libraries to stderr, without content of users or secrets.

    Libraries log from warning on whatever the level. Raise ConfigurationError for an unknown level.
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
    # Python would print the line that it failed to write, and the exception with it.
    logging.raiseExceptions = False
    handler.addFilter(is_ours_or_warning)
    logging.basicConfig(handlers=[handler], level=severity, force=True)
    logging.getLogger(AUDIT_LOGGER).setLevel(logging.INFO)


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


def _renderers(format: LogFormat) -> list[Any]:  # noqa: A002
    strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if format == "console":
        return [strip, format_exceptions, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return [strip, describe_exceptions, structlog.processors.JSONRenderer(default=str)]

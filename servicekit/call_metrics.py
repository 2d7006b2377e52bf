"""Observability of calls: counters and a duration histogram, a trace span, and one log line for a failed call."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from time import perf_counter
from types import TracebackType
from typing import Any

import structlog
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram

from servicekit import tracing
from servicekit.auth import Claims
from servicekit.failure import Failure

_log = structlog.get_logger("rpc")

_STARTED = Counter("parley_rpc_started", "Calls started.", ["service", "method"])
_FINISHED = Counter(
    "parley_rpc_finished", "Calls finished, by status code; CANCELLED: the client left.", ["service", "method", "code"]
)
_SECONDS = Histogram(
    "parley_rpc_seconds",
    "Duration of calls in seconds; for streams, their lifetime.",
    ["service", "method"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600, 3600),
)


class MethodMetrics:
    """The metrics of one method of one service."""

    def __init__(self, service: str, method: str, *, long_lived: bool) -> None:
        self.name = f"/{service}/{method}"
        self.started = _STARTED.labels(service, method)
        self.seconds = _SECONDS.labels(service, method)
        self.long_lived = long_lived
        self._labels = (service, method)
        self._finished: dict[str, Any] = {}

    def record_call(self, metadata: dict[str, str], peer: str) -> CallRecorder:
        """Return a recorder of one call; its `with` block spans the call."""
        return CallRecorder(self, metadata, peer)

    def count_finished(self, code: str) -> None:
        """Count a call that finished with the status code `code`."""
        if code not in self._finished:
            self._finished[code] = _FINISHED.labels(*self._labels, code)
        self._finished[code].inc()


class CallRecorder:
    """The recorder of one call.

    The code is OK unless `record_failure` or `record_internal_error` was called. A cancelled call counts as
    CANCELLED and is not logged.
    """

    __slots__ = ("_code", "_method", "_peer", "_span", "_started_at", "claims")

    def __init__(self, method: MethodMetrics, metadata: dict[str, str], peer: str) -> None:
        self.claims: Claims | None = None
        self._method = method
        self._peer = peer
        self._code = "OK"
        # A stream lives for hours, so it has no span; each of its frames has one.
        self._span: AbstractContextManager[Any] | None = (
            None if method.long_lived else tracing.span(method.name, metadata, kind=SpanKind.SERVER)
        )

    def __enter__(self) -> CallRecorder:
        self._started_at = perf_counter()
        self._method.started.inc()
        if self._span is not None:
            self._span.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._code == "OK" and kind is not None:
            self._code = "CANCELLED" if issubclass(kind, asyncio.CancelledError) else "UNKNOWN"
        self._method.seconds.observe(perf_counter() - self._started_at)
        self._method.count_finished(self._code)
        if self._span is not None:
            tracing.set_status(self._code)
            self._span.__exit__(None, None, None)

    def record_failure(self, failure: Failure) -> None:
        """Record the failure that the client receives, and log it: INTERNAL as an error, others as info."""
        self._code = failure.code
        log = _log.error if failure.code == "INTERNAL" else _log.info
        log("call failed", reason=failure.reason, message=failure.message, **self._log_fields())

    def record_internal_error(self, error: BaseException) -> None:
        """Record an unexpected exception as INTERNAL, and log it with its traceback."""
        self._code = "INTERNAL"
        _log.error("call failed", reason="INTERNAL", exc_info=error, **self._log_fields())

    def _log_fields(self) -> dict[str, object]:
        return {
            "method": self._method.name,
            "code": self._code,
            "peer": self._peer,
            "seconds": round(perf_counter() - self._started_at, 6),
        }

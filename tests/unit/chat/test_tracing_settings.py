"""The trace settings of a chat server reach the tracer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from chat_service.settings import ChatSettings
from servicekit import tracing
from servicekit.service import configure_tracing

SETTINGS: dict[str, Any] = {
    "mongo_uri": SecretStr("mongodb://unused"),
    "redis_url": SecretStr("redis://unused"),
    "etcd_endpoints": ("127.0.0.1:1",),
    "jwks_file": Path("unused"),
    "service_credential_file": Path("unused"),
    "otlp_endpoint": "http://127.0.0.1:1",
}


# The probability that one trace is sampled by chance at the low ratio is 1e-15.
@pytest.mark.parametrize(("ratio", "sampled"), [(1.0, 1), (1e-15, 0)])
def test_trace_ratio_samples_exported_traces(ratio: float, sampled: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "_create_exporter", lambda _: exporter)
    close = configure_tracing("chat", ChatSettings(**SETTINGS, trace_ratio=ratio))
    with tracing.span("request"):
        pass
    close()
    assert len(exporter.get_finished_spans()) == sampled

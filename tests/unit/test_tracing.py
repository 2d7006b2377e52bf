"""Spans: calls follow a carrier, messages a context by hand, and clients cannot have everything recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.trace import SpanKind

from servicekit import tracing
from servicekit.errors import RateLimited
from tools.otlp_receiver import OtlpReceiver, Span

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = CLIENT[:-2] + "00"


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def close(receiver: OtlpReceiver) -> Iterator[Callable[[], None]]:
    close = tracing.configure_tracing("test", endpoint=receiver.endpoint, client_rate=0.1, instance="test-1")
    yield close
    close()


def named(receiver: OtlpReceiver, name: str) -> Span:
    [span] = [span for span in receiver.spans if span.name == name]
    return span


def test_tracing_is_disabled_without_endpoint() -> None:
    tracing.configure_tracing("test")()
    with tracing.span("work"):
        assert tracing.trace_carrier() == {}
    assert not tracing.is_enabled()
    assert tracing.start_span("work", CLIENT) is None
    assert not tracing.draw_sample()
    assert not tracing.admit_client(CLIENT)


def test_span_continues_the_trace_of_its_carrier(receiver: OtlpReceiver, close: Callable[[], None]) -> None:
    with tracing.span("edge"):
        carrier = tracing.trace_carrier()
    with tracing.span("owner", carrier, kind=SpanKind.SERVER):
        assert tracing.current_trace_id() == carrier["traceparent"].split("-")[1]
    close()
    edge, owner = named(receiver, "edge"), named(receiver, "owner")
    assert (owner.trace_id, owner.parent_id, owner.kind) == (edge.trace_id, edge.span_id, "server")
    assert (owner.service, owner.instance) == ("test", "test-1")


def test_span_by_hand_has_parent_links_and_times(receiver: OtlpReceiver, close: Callable[[], None]) -> None:
    with tracing.span("something else that is going on"):
        root = tracing.start_span("root")
    assert root is not None
    child = tracing.start_span("child", root.traceparent, links=(CLIENT, UNSAMPLED, "no traceparent"))
    assert child is not None
    child.end({"number": 1})
    child.end({"number": 2})
    root.end(failure=RateLimited("a text that is not exported", retry_after=1))
    close()
    first, second = named(receiver, "root"), named(receiver, "child")
    assert first.parent_id == ""
    assert (second.trace_id, second.parent_id) == (first.trace_id, first.span_id)
    assert second.links == ((CLIENT.split("-")[1], CLIENT.split("-")[2]),)
    assert first.start_ns <= second.start_ns <= second.end_ns <= first.end_ns
    assert second.attributes == {"number": 1}
    assert first.attributes == {"error.type": "RATE_LIMITED"}
    assert not any(b"not exported" in export for export in receiver.exports)


def test_exception_in_a_span_is_not_exported(receiver: OtlpReceiver, close: Callable[[], None]) -> None:
    with pytest.raises(ValueError, match="secret"), tracing.span("call"):
        raise ValueError("secret")
    close()
    assert named(receiver, "call").name == "call"
    assert not any(b"secret" in export for export in receiver.exports)


@pytest.mark.usefixtures("close")
def test_clients_have_few_traces_continued() -> None:
    assert not tracing.admit_client("")
    assert not tracing.admit_client(UNSAMPLED)
    assert not tracing.admit_client(CLIENT + "0")
    assert not tracing.admit_client(f"00-{'0' * 32}-b7ad6b7169203331-01")
    assert [tracing.admit_client(CLIENT) for _ in range(3)] == [True, False, False]


def test_ratio_decides_on_traces_that_begin_here(receiver: OtlpReceiver) -> None:
    close = tracing.configure_tracing("test", endpoint=receiver.endpoint, sample_ratio=1e-15)
    assert not any(tracing.draw_sample() for _ in range(100))
    assert not tracing.admit_client(CLIENT)
    with tracing.span("unsampled"):
        assert tracing.current_traceparent() == ""
    with tracing.span("sampled elsewhere", {"traceparent": CLIENT}):
        assert re.fullmatch(rf"00-{CLIENT.split('-')[1]}-[0-9a-f]{{16}}-0[13]", tracing.current_traceparent())
    close()
    assert [span.name for span in receiver.spans] == ["sampled elsewhere"]

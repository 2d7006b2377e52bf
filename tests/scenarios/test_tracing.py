"""One trace follows a message through Envoy, edge, owner, commit, home and device, on a system of real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise

import pytest
from opentelemetry import trace

from devstack.services import CHAT
from devstack.stack import Stack
from devstack.tracing import Tracing
from parley.chat.v1 import chat_pb2
from tests.raw import calls
from tests.raw.device import new_id, text
from tests.raw.world import World
from tests.scenarios.conftest import ENVIRONMENT
from tools import traced_message
from tools.otlp_receiver import OtlpReceiver, Span
from tools.trace_picture import PICTURE, RECORD, RecordedSpan, draw, read_record, record_spans

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]

CLIENT_TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{CLIENT_TRACE}-b7ad6b7169203331-01"
CANARY = "canary in a traced message"


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced_stack(tmp_path_factory: pytest.TempPathFactory, receiver: OtlpReceiver) -> Iterator[Stack]:
    """A system of chat alone that records every trace."""
    environment = {**ENVIRONMENT, **traced_message.ENVIRONMENT}
    folder, tracing = tmp_path_factory.mktemp("traced"), Tracing(receiver.endpoint, 1.0)
    with Stack(folder, 3, services=(CHAT,), tracing=tracing, environment=environment) as stack:
        yield stack


@pytest.fixture
async def world(traced_stack: Stack) -> AsyncIterator[World]:
    async with World(traced_stack) as world:
        yield world


@pytest.fixture
def application(receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An application that has configured OpenTelemetry, which is possible once a process."""
    provider = traced_message.make_provider(receiver)
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield
    provider.shutdown()


def one(spans: Sequence[Span], name: str) -> Span:
    [found] = [span for span in spans if span.name == name]
    return found


def path_to(spans: Sequence[Span], last: Span) -> list[Span]:
    """Return the spans from the root of a trace to `last`; in the order in which they began."""
    path = [last]
    while parents := [span for span in spans if span.span_id == path[0].parent_id]:
        path[:0] = parents
    for parent, child in pairwise(path):
        assert parent.trace_id == child.trace_id
        assert parent.start_ns <= child.start_ns <= child.end_ns, (parent.name, child.name)
    return path


def outline(record: Sequence[RecordedSpan]) -> list[tuple[str, str, str, list[str]]]:
    """Return of each span, in order of names, what is the same in every record: name, process, parent and links."""
    return sorted(
        (
            each.name,
            each.process,
            record[each.parent].name if each.parent is not None else "",
            [record[link].name for link in each.links],
        )
        for each in record
    )


async def test_trace_follows_a_message_from_device_to_device(
    traced_stack: Stack, receiver: OtlpReceiver, application: None
) -> None:
    spans = await traced_message.send_traced_message(traced_stack, receiver)
    path = path_to(spans, one(spans, "device receive"))
    names = ["device send", "edge send", "owner append", "home deliver", "edge deliver", "device receive"]
    assert [span.name for span in path] == names
    _, sent, appended, at_home, delivered, received = path
    committed = one(spans, "commit")
    assert committed.parent_id == appended.span_id
    assert appended.start_ns <= committed.start_ns <= committed.end_ns <= at_home.start_ns
    assert appended.end_ns <= sent.end_ns
    # The owner's server is also the edge of the recipient.
    assert len({sent.instance, appended.instance, at_home.instance}) == 3
    assert committed.instance == delivered.instance == appended.instance
    # Envoy has one span for the stream of each device.
    for at_edge in (sent, delivered):
        [stream] = [span for span in spans if (span.trace_id, span.span_id) in at_edge.links]
        assert stream.service == "envoy"
        assert stream.start_ns < at_edge.start_ns < stream.end_ns
    assert sent.links != delivered.links
    assert sent.attributes["messaging.system"] == "parley"
    assert sent.attributes["parley.seq"] == received.attributes["parley.seq"]
    assert outline(record_spans(spans)) == outline(read_record())


async def test_picture_in_the_documents_shows_the_recorded_spans() -> None:
    assert PICTURE.read_text() == draw(read_record()), f"draw it again from {RECORD.name}: make trace-picture"


async def test_unary_send_is_one_trace_with_envoy(world: World, receiver: OtlpReceiver) -> None:
    alice, bob = await world.users("alice", "bob")
    await bob.connect()
    chat, key = await alice.direct(bob), new_id()
    request = chat_pb2.SendMessageRequest(client_message_id=key, conversation_id=chat, content=text(CANARY))
    await alice.call(request)
    await bob.has(chat, CANARY)
    await bob.close()

    _, trace_id, span_id, _ = bob.logs[chat][2].traceparent.split("-")

    def is_complete(spans: Sequence[Span]) -> bool:
        services = {span.service for span in spans if span.trace_id == trace_id}
        return span_id in {span.span_id for span in spans} and "envoy" in services

    spans = await asyncio.to_thread(receiver.wait_for, is_complete)
    path = path_to(spans, next(span for span in spans if span.span_id == span_id))
    call = "/parley.chat.v1.ChatService/SendMessage"
    names = ["ingress", call, "edge send", "owner append", "home deliver", "edge deliver"]
    assert [span.name for span in path] == names
    assert path[0].service == "envoy"
    assert path[2].attributes["messaging.message.id"] == key
    assert not any(CANARY.encode() in export or alice.token.encode() in export for export in receiver.exports)


async def test_client_does_not_choose_the_trace_of_a_call(world: World, receiver: OtlpReceiver) -> None:
    [alice] = await world.users("alice")
    before = len(receiver.spans)
    metadata = (
        ("traceparent", TRACEPARENT),
        ("x-client-trace-id", "mine"),
        ("authorization", f"Bearer {alice.token}"),
    )
    await calls.call(world.channel(world.stack.door), chat_pb2.LocateRequest(), metadata)
    await asyncio.to_thread(receiver.wait_for, lambda spans: any("Locate" in span.name for span in spans[before:]))
    assert CLIENT_TRACE not in {span.trace_id for span in receiver.spans}


async def test_trace_that_a_client_sampled_is_continued(world: World, receiver: OtlpReceiver) -> None:
    alice, bob = await world.users("alice", "bob")
    await alice.connect()
    request = chat_pb2.SendMessageRequest(
        client_message_id=new_id(), conversation_id=await alice.direct(bob), content=text("hi"), traceparent=TRACEPARENT
    )
    await alice.stream.send_frame(send_message=request)
    spans = await asyncio.to_thread(receiver.wait_for, lambda spans: of_trace(spans, CLIENT_TRACE))
    assert one(of_trace(spans, CLIENT_TRACE), "edge send").parent_id == TRACEPARENT.split("-")[2]


def of_trace(spans: Sequence[Span], trace_id: str) -> list[Span]:
    """Return the spans of a trace once that of the edge, which ends last, has come."""
    found = [span for span in spans if span.trace_id == trace_id]
    return found if any(span.name == "edge send" for span in found) else []

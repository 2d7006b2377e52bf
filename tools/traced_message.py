"""A message that is traced from one device to another, between chat servers of which each has one role for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from devstack.stack import Stack
from parley_client import Client, Device, EntryReceived
from tools.otlp_receiver import OtlpReceiver, Span

TEXT: Final = "Are you coming along?"
# So that spans arrive sooner than by default, every 5 s.
ENVIRONMENT: Final = {"OTEL_BSP_SCHEDULE_DELAY": "200"}
CHAT_SERVERS: Final = 3
# The spans of a message by name, and how many there are: it is also delivered to the device of its sender.
MESSAGE_SPANS: Final = Counter(
    {
        "device send": 1,
        "edge send": 1,
        "owner append": 1,
        "commit": 1,
        "home deliver": 2,
        "edge deliver": 2,
        "device receive": 1,
    }
)
_TIMEOUT_S: Final = 60.0


def make_provider(receiver: OtlpReceiver) -> TracerProvider:
    """Return the tracer provider of an application that has devices, which exports to the receiver."""
    provider = TracerProvider(resource=Resource.create({"service.name": "device"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{receiver.endpoint}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=200))
    return provider


async def send_traced_message(stack: Stack, receiver: OtlpReceiver) -> list[Span]:
    """Send a message on a system of three chat servers, and return its spans and those of the streams in Envoy.

    The edge of the sender, the owner and the home of the recipient are three servers; the recipient's edge is the
    owner's server. The application of both devices has OpenTelemetry configured.
    """
    async with AsyncExitStack() as open_, _two_users(stack) as (sender, recipient):
        owner, home = await sender.locate(), await recipient.locate()
        [edge] = {server.address for server in stack.chat_servers} - {owner, home}
        sending = await open_.enter_async_context(sender.connect(home_hint=edge))
        receiving = await open_.enter_async_context(recipient.connect(home_hint=owner))
        for device in (sending, receiving):
            await device.wait_connected()
        chat = await sender.conversations.get_or_create_direct(receiving.user_id)
        with trace.get_tracer("application").start_as_current_span("application"):
            sent = await sending.send(chat.conversation_id, TEXT)
        await _receive(receiving, sent.seq)
        # It is also delivered to the stream of the sender, perhaps later, so long as that is open.
        await asyncio.to_thread(receiver.wait_for, _find_spans, _TIMEOUT_S)
    # Envoy ends the span of a stream with the stream.
    spans = await asyncio.to_thread(receiver.wait_for, find_message_spans, _TIMEOUT_S)
    return find_message_spans(spans)


def find_message_spans(spans: Sequence[Span]) -> list[Span]:
    """Return the spans of the message that an application sent, and those that they link to; empty until all came."""
    found = _find_spans(spans)
    streams = {link for span in found if span.service != "device" for link in span.links}
    linked = [span for span in spans if (span.trace_id, span.span_id) in streams]
    if not found or len(linked) < len(streams):
        return []
    return sorted([*found, *linked], key=lambda span: span.start_ns)


def _find_spans(spans: Sequence[Span]) -> list[Span]:
    """Return the spans of the message that an application sent, MESSAGE_SPANS; empty until all came."""
    root = next((span for span in spans if span.name == "application"), None)
    found = [
        span for span in spans if root is not None and span.trace_id == root.trace_id and span.name in MESSAGE_SPANS
    ]
    return found if Counter(span.name for span in found) == MESSAGE_SPANS else []


@asynccontextmanager
async def _two_users(stack: Stack) -> AsyncIterator[tuple[Client, Client]]:
    """Register users until two of them have different homes, and yield these; the home of the first owns their chat."""
    async with AsyncExitStack() as open_:
        clients = list[Client]()
        while True:
            client = await open_.enter_async_context(Client(stack.door))
            await client.accounts.register(f"user-{client.new_id()[-8:]}", "correct horse battery")
            for other in clients:
                if await other.locate() != await client.locate():
                    # The home of the lower id owns a conversation of two.
                    pair = sorted((other, client), key=lambda each: each.session.user_id if each.session else "")
                    yield pair[0], pair[1]
                    return
            clients.append(client)


async def _receive(device: Device, seq: int) -> None:
    async with asyncio.timeout(_TIMEOUT_S):
        async for event in device:
            if isinstance(event, EntryReceived) and event.seq == seq:
                return

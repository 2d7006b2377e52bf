"""The metrics of an edge: rejected frames, refused sends, bytes in outboxes, deliveries and their delay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from prometheus_client import REGISTRY

from chat_service.errors import ConversationNotFound, OwnerUnavailable
from chat_service.history.history import History
from chat_service.limits import Limits
from chat_service.model.delivery import DeliveredEntry, Delivery
from chat_service.stream.delivery_sampler import SAMPLE_INTERVAL_S, DeliverySampler
from chat_service.stream.handler import Reauthenticate, StreamHandler
from chat_service.stream.session_registry import SessionRegistry
from chat_service.wire.entries import to_timestamp
from parley.chat.v1 import chat_pb2, entry_pb2
from tests.clock import ManualClock
from tests.unit.chat.test_edge_presence import PresentEdge
from tests.unit.chat.test_session_media import HERE, TEXT, SessionHarness


class RecordedStream:
    """A stream of a device that sends these frames and then half-closes; what it is sent is dropped."""

    def __init__(self, *frames: bytes) -> None:
        self._frames: Iterator[bytes] = iter(frames)

    async def read(self) -> bytes | None:
        return next(self._frames, None)

    async def write(self, frame: bytes) -> None:
        pass


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def entry_appended_at(time_ms: int) -> bytes:
    return entry_pb2.Entry(conversation_id="c" * 32, create_time=to_timestamp(time_ms)).SerializeToString()


async def reject(frame: bytes) -> None:
    """Let a handler read a frame, and end the session once it has."""
    harness, edge = SessionHarness(Limits()), PresentEdge()

    async def unused(*_: object) -> bool:
        raise AssertionError

    handler = StreamHandler(
        harness.session,
        RecordedStream(frame),
        cast("History", None),  # nothing is read from stores
        edge.presence,
        Limits(),
        harness.clock,
        unused,
        cast("Reauthenticate", unused),
        lambda: None,
    )
    await handler._read_frames()


async def test_unparsable_frame_is_counted_by_its_reason() -> None:
    before = value("parley_frames_rejected_total", reason="FRAME_UNPARSABLE")
    await reject(b"\xff\xff")
    assert value("parley_frames_rejected_total", reason="FRAME_UNPARSABLE") == before + 1


async def test_frame_with_a_wrong_field_is_counted_by_its_reason() -> None:
    before = value("parley_frames_rejected_total", reason="FIELD_INVALID")
    await reject(chat_pb2.ConnectRequest(typing=chat_pb2.SetTypingRequest()).SerializeToString())
    assert value("parley_frames_rejected_total", reason="FIELD_INVALID") == before + 1


async def test_refused_send_is_counted_by_its_reason() -> None:
    before = value("parley_sends_refused_total", reason="CONVERSATION_NOT_FOUND")
    harness = SessionHarness(Limits())
    harness.owners.refusals = [ConversationNotFound()]
    harness.send(HERE, TEXT)
    assert await harness.results_at_end() == [(HERE, "CONVERSATION_NOT_FOUND")]
    assert value("parley_sends_refused_total", reason="CONVERSATION_NOT_FOUND") == before + 1


async def test_send_that_the_edge_repeats_is_not_counted_as_refused() -> None:
    before = value("parley_sends_refused_total", reason="OWNER_UNAVAILABLE")
    harness = SessionHarness(Limits())
    harness.owners.refusals = [OwnerUnavailable("another server owns this conversation", retry_after=0.05)]
    harness.send(HERE, TEXT)
    harness.clock.advance(0.05)
    assert await harness.results_at_end() == [(HERE, "appended")]
    assert value("parley_sends_refused_total", reason="OWNER_UNAVAILABLE") == before


def test_delay_of_a_delivery_counts_from_the_time_of_its_entry() -> None:
    clock = ManualClock()
    sampler = DeliverySampler(clock)
    count, total = value("parley_delivery_seconds_count"), value("parley_delivery_seconds_sum")
    sampler.offer(entry_appended_at(clock.now_ms() - 250))
    assert value("parley_delivery_seconds_count") == count + 1
    assert value("parley_delivery_seconds_sum") - total == pytest.approx(0.25)


def test_burst_of_deliveries_is_measured_once() -> None:
    clock = ManualClock()
    sampler = DeliverySampler(clock)
    count = value("parley_delivery_seconds_count")
    for _ in range(100):
        sampler.offer(entry_appended_at(clock.now_ms()))
    assert value("parley_delivery_seconds_count") == count + 1
    clock.advance(SAMPLE_INTERVAL_S)
    sampler.offer(entry_appended_at(clock.now_ms()))
    assert value("parley_delivery_seconds_count") == count + 2


async def test_entry_from_a_clock_ahead_is_not_delayed() -> None:
    clock = ManualClock()
    total = value("parley_delivery_seconds_sum")
    DeliverySampler(clock).offer(entry_appended_at(clock.now_ms() + 5000))
    assert value("parley_delivery_seconds_sum") == total


async def test_deliveries_and_the_bytes_that_wait_are_those_of_all_sessions() -> None:
    harnesses = [SessionHarness(Limits()), SessionHarness(Limits())]
    sessions = SessionRegistry(harnesses[0].clock)
    for harness in harnesses:
        sessions.add(harness.session)
    before = value("parley_session_deliveries_total")
    entry = DeliveredEntry(entry_appended_at(0), "b" * 32, bytes(16))
    sessions.deliver([harness.session.session_id for harness in harnesses], Delivery(entries=(entry,)))
    assert value("parley_session_deliveries_total") == before + 2
    assert value("parley_outbox_bytes") == 2 * len(entry.entry)
    await harnesses[0].session.outbox.dequeue()
    assert value("parley_outbox_bytes") == len(entry.entry)

"""The outbox of a device is bounded: a slow reader loses no frame, and a stalled reader is disconnected."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from chat_service.wire import frames
from servicekit.errors import SlowConsumer
from servicekit.outbox import Outbox, SlowConsumerDetector


class ManualTimers:
    """Timers that fire when the test calls `fire`."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []

    def later(self, _: float, call: Callable[[], None]) -> None:
        self._calls.append(call)

    def fire(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()


@pytest.fixture
def outbox() -> Outbox:
    return Outbox(1000, frames.join_elements, frames.final_error_frame)


def fill(outbox: Outbox) -> int:
    count = 0
    while outbox.offer(frames.ENTRIES, b"x" * 100):
        count += 1
    return count


def test_offer_to_full_outbox_is_refused(outbox: Outbox) -> None:
    assert fill(outbox) == 11
    assert not outbox.closed


async def test_dequeue_frees_capacity(outbox: Outbox) -> None:
    fill(outbox)
    assert await outbox.dequeue()
    assert fill(outbox) == 11


def test_put_beyond_twice_the_capacity_disconnects_device(outbox: Outbox) -> None:
    for _ in range(20):
        outbox.put(frames.RESULTS, b"x" * 100)
    assert not outbox.closed
    outbox.put(frames.RESULTS, b"x" * 100)
    assert isinstance(outbox.failure, SlowConsumer)


async def test_disconnected_device_receives_only_the_reason(outbox: Outbox) -> None:
    fill(outbox)
    outbox.cut_off()
    frame = await outbox.dequeue()
    assert frame is not None
    assert b"SLOW_CONSUMER" in frame
    assert await outbox.dequeue() is None


def test_stalled_device_is_disconnected(outbox: Outbox) -> None:
    timers = ManualTimers()
    detector = SlowConsumerDetector(outbox, "a" * 32, 30, timers.later)
    fill(outbox)
    detector.on_overflow()
    timers.fire()
    assert isinstance(outbox.failure, SlowConsumer)


async def test_slow_device_is_not_disconnected(outbox: Outbox) -> None:
    timers = ManualTimers()
    detector = SlowConsumerDetector(outbox, "a" * 32, 30, timers.later)
    for _ in range(10):
        fill(outbox)
        detector.on_overflow()
        await outbox.dequeue()
        fill(outbox)
        timers.fire()
        assert not outbox.closed


def test_refused_elements_and_slow_consumers_are_counted(outbox: Outbox) -> None:
    fill(outbox)
    refused, slow = value("parley_outbox_refused_total"), value("parley_slow_consumers_total")
    assert not outbox.offer(frames.ENTRIES, b"x")
    outbox.cut_off()
    assert value("parley_outbox_refused_total") == refused + 1
    assert value("parley_slow_consumers_total") == slow + 1


def value(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_mark_is_called_once_what_stands_before_it_is_written(outbox: Outbox) -> None:
    written = list[str]()
    outbox.put(frames.ENTRIES, b"x")
    outbox.put_mark(lambda: written.append("first"))
    outbox.put(frames.ENTRIES, b"y")
    outbox.put_mark(lambda: written.append("second"))
    assert await outbox.dequeue() == frames.join_elements(frames.ENTRIES, [b"x"])
    assert written == []
    assert await outbox.dequeue() == frames.join_elements(frames.ENTRIES, [b"y"])
    assert written == ["first"]
    outbox.close(None)
    outbox.put_mark(lambda: written.append("too late"))
    assert await outbox.dequeue() is None
    assert written == ["first", "second"]


async def test_mark_of_discarded_frames_is_never_called(outbox: Outbox) -> None:
    outbox.put(frames.ENTRIES, b"x")
    outbox.put_mark(lambda: pytest.fail("the frame was discarded"))
    outbox.cut_off()
    assert await outbox.dequeue() is not None
    assert await outbox.dequeue() is None

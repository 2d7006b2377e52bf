"""What waits for a device is bounded; a device that reads slowly misses nothing, one that reads nothing is cut off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chat_service.errors import SlowConsumer
from chat_service.stream.outbox import Outbox, SlowConsumerDetector
from chat_service.wire import frames


class Timers:
    """Timers that fire when they are told to."""

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
    return Outbox(1000)


def fill(outbox: Outbox) -> int:
    count = 0
    while outbox.offer(frames.ENTRIES, b"x" * 100):
        count += 1
    return count


def test_what_is_offered_is_refused_when_there_is_no_room(outbox: Outbox) -> None:
    assert fill(outbox) == 11
    assert not outbox.closed


async def test_there_is_room_again_once_it_was_read(outbox: Outbox) -> None:
    fill(outbox)
    assert await outbox.dequeue()
    assert fill(outbox) == 11


def test_what_cannot_be_found_again_has_twice_the_room_and_then_the_device_is_cut_off(outbox: Outbox) -> None:
    for _ in range(20):
        outbox.put(frames.RESULTS, b"x" * 100)
    assert not outbox.closed
    outbox.put(frames.RESULTS, b"x" * 100)
    assert isinstance(outbox.failure, SlowConsumer)


async def test_a_device_that_is_cut_off_is_told_why_and_no_more(outbox: Outbox) -> None:
    fill(outbox)
    outbox.cut_off()
    frame = await outbox.dequeue()
    assert frame is not None
    assert b"SLOW_CONSUMER" in frame
    assert await outbox.dequeue() is None


def test_a_device_that_reads_nothing_is_cut_off(outbox: Outbox) -> None:
    timers = Timers()
    backlog = SlowConsumerDetector(outbox, "a" * 32, 30, timers.later)
    fill(outbox)
    backlog.on_overflow()
    timers.fire()
    assert isinstance(outbox.failure, SlowConsumer)


async def test_a_device_that_reads_slowly_is_not_cut_off(outbox: Outbox) -> None:
    timers = Timers()
    backlog = SlowConsumerDetector(outbox, "a" * 32, 30, timers.later)
    for _ in range(10):
        fill(outbox)
        backlog.on_overflow()
        await outbox.dequeue()
        fill(outbox)
        timers.fire()
        assert not outbox.closed

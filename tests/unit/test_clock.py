"""A manual clock fires due timers in order when it is advanced; the system clock uses the event loop."""

from __future__ import annotations

import asyncio

import pytest

from servicekit.clock import Clock, SystemClock
from tests.clock import ManualClock
from tests.eventually import eventually, run_ready


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=1000)


def test_time_passes_only_when_clock_is_advanced(clock: ManualClock) -> None:
    assert (clock.now_ms(), clock.monotonic()) == (1000, 0.0)
    clock.advance(2.5)
    assert (clock.now_ms(), clock.monotonic()) == (3500, 2.5)


def test_many_small_steps_add_up(clock: ManualClock) -> None:
    for _ in range(10_000):
        clock.advance(0.0004)
    assert clock.now_ms() == 1000 + 4000


def test_timers_fire_in_order_at_their_due_time(clock: ManualClock) -> None:
    fired: list[tuple[str, float, int]] = []
    for name, seconds in (("late", 3.0), ("first", 1.0), ("second", 1.0), ("after", 5.0)):
        clock.call_later(seconds, lambda name=name: fired.append((name, clock.monotonic(), clock.now_ms())))  # type: ignore[misc]
    clock.advance(0.9)
    assert fired == []
    clock.advance(3)
    assert fired == [("first", 1.0, 2000), ("second", 1.0, 2000), ("late", 3.0, 4000)]
    assert clock.monotonic() == 3.9
    clock.advance(2)
    assert [name for name, _, _ in fired] == ["first", "second", "late", "after"], "each timer fires once"


def test_timer_set_by_a_timer_fires_within_the_same_advance(clock: ManualClock) -> None:
    fired: list[float] = []

    def again() -> None:
        fired.append(clock.monotonic())
        clock.call_later(2.0, again)

    clock.call_later(1.0, again)
    clock.advance(6)
    assert fired == [1.0, 3.0, 5.0]


def test_cancelled_timer_does_not_fire(clock: ManualClock) -> None:
    fired: list[str] = []
    cancelled = clock.call_later(1.0, lambda: fired.append("cancelled"))
    clock.call_later(1.0, lambda: fired.append("kept"))
    cancelled.cancel()
    clock.advance(1)
    assert fired == ["kept"]
    cancelled.cancel()


async def test_sleepers_wake_at_their_due_time(clock: ManualClock) -> None:
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (2.0, 1.0, 3.0):
            group.create_task(sleep(seconds))
        await run_ready()
        clock.advance(2)
        await run_ready()
        assert woken == [1.0, 2.0]
        clock.advance(1)
    assert woken == [1.0, 2.0, 3.0]


async def test_cancelled_sleeper_raises_cancelled_error(clock: ManualClock) -> None:
    sleeper = asyncio.create_task(clock.sleep(1))
    await run_ready()
    sleeper.cancel()
    clock.advance(1)
    with pytest.raises(asyncio.CancelledError):
        await sleeper


async def test_system_clock_schedules_on_the_event_loop() -> None:
    clock: Clock = SystemClock()
    fired: list[str] = []
    clock.call_later(3600, lambda: fired.append("in an hour"))
    clock.call_later(0.02, lambda: fired.append("cancelled")).cancel()
    clock.call_later(0.01, lambda: fired.append("soon"))
    before = clock.monotonic()
    await clock.sleep(0.03)
    assert clock.monotonic() - before >= 0.03
    await eventually(lambda: fired)
    assert fired == ["soon"]

"""The loop of jobs that are sent again: at the drain no more are taken, and those in flight are sent to their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from notify_service.delivery.failed_pushes import GIVE_UP_AFTER_MS, FailedPushes
from notify_service.delivery.job_loop import LEASE_S, PAUSE_S, JobLoop
from notify_service.model.events import PushJob, QueuedRead
from notify_service.model.ports import DeadLetter, DelayedJob
from notify_service.wire.events import encode_job
from servicekit.errors import StoreUnavailable
from tests.clock import ManualClock
from tests.eventually import run_ready

USER, DEVICE, CHAT = "a" * 32, "b" * 32, "c" * 32


def job(read_seq: int, first_ms: int = 1, attempts: int = 1) -> bytes:
    return encode_job(PushJob(QueuedRead(USER, CHAT, read_seq, first_ms), USER, DEVICE, attempts, first_ms))


class Jobs:
    """Jobs that are due, and the provider that answers once `answered` is set."""

    def __init__(self) -> None:
        self.due: list[bytes] = []
        self.down = False
        self.started: list[int] = []
        self.acknowledged: list[bytes] = []
        self.delayed: list[DelayedJob] = []
        self.dead_letters: list[DeadLetter] = []
        self.fault: Exception | None = None
        self.answered = asyncio.Event()

    async def take_due(self, count: int, lease_s: float) -> list[bytes]:
        if self.down:
            raise StoreUnavailable
        taken, self.due = self.due[:count], self.due[count:]
        return taken

    async def acknowledge_job(
        self, payload: bytes, jobs: Sequence[DelayedJob] = (), dead_letters: Sequence[DeadLetter] = ()
    ) -> None:
        self.acknowledged.append(payload)
        self.delayed += jobs
        self.dead_letters += dead_letters

    async def deliver_job(self, due: PushJob) -> FailedPushes:
        assert isinstance(due.event, QueuedRead)
        self.started.append(due.event.read_seq)
        await self.answered.wait()
        if self.fault is not None:
            raise self.fault
        return FailedPushes(0, due)


class Loop:
    """A running loop, its parts each in a task."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.jobs = Jobs()
        job_loop = JobLoop(cast("Any", self.jobs), cast("Any", self.jobs), self.clock)
        self.taking = asyncio.create_task(job_loop.take())
        self.sending = asyncio.create_task(job_loop.run())

    async def poll(self) -> None:
        """Let the pause after an attempt to take jobs pass."""
        self.clock.advance(PAUSE_S)
        await run_ready()

    async def end(self) -> None:
        for task in (self.taking, self.sending):
            task.cancel()
        await asyncio.gather(self.taking, self.sending, return_exceptions=True)


@pytest.fixture
async def loop() -> AsyncIterator[Loop]:
    running = Loop()
    yield running
    await running.end()


async def test_jobs_in_flight_at_the_drain_are_sent_and_acknowledged(loop: Loop) -> None:
    loop.jobs.due = [job(1), job(2)]
    await loop.poll()
    assert loop.jobs.started == [1, 2]
    loop.taking.cancel()
    await run_ready()
    loop.jobs.answered.set()
    await run_ready()
    assert loop.jobs.acknowledged == [job(1), job(2)]


async def test_jobs_that_come_due_after_the_drain_began_are_left_to_other_servers(loop: Loop) -> None:
    await run_ready()
    loop.taking.cancel()
    await run_ready()
    loop.jobs.due = [job(1)]
    await loop.poll()
    assert (loop.jobs.due, loop.jobs.started) == ([job(1)], [])


async def test_next_jobs_are_taken_once_those_in_flight_were_sent(loop: Loop) -> None:
    loop.jobs.due = [job(1)]
    await loop.poll()
    loop.jobs.due = [job(2)]
    await loop.poll()
    assert loop.jobs.started == [1], "the lease of a job that waits would run"
    loop.jobs.answered.set()
    await run_ready()
    assert loop.jobs.acknowledged == [job(1), job(2)]


async def test_store_that_is_down_is_asked_again(loop: Loop) -> None:
    loop.jobs.down, loop.jobs.due = True, [job(1)]
    loop.jobs.answered.set()
    await loop.poll()
    loop.jobs.down = False
    await loop.poll()
    assert loop.jobs.acknowledged == [job(1)]


async def test_job_that_a_fault_ends_is_sent_again_later_and_given_up_in_the_end(loop: Loop) -> None:
    first_ms = loop.clock.now_ms()
    loop.jobs.fault = RuntimeError("a fault")
    loop.jobs.answered.set()
    loop.jobs.due = [job(1, first_ms)]
    await loop.poll()
    assert (loop.jobs.acknowledged, loop.jobs.dead_letters) == ([job(1, first_ms)], [])
    assert loop.jobs.delayed == [DelayedJob(job(1, first_ms, attempts=2), LEASE_S)]
    loop.clock.advance(GIVE_UP_AFTER_MS / 1000)
    loop.jobs.due = [job(1, first_ms, attempts=2)]
    await loop.poll()
    [letter] = loop.jobs.dead_letters
    assert letter.reason == "not accepted in time: internal error; see the server's log"

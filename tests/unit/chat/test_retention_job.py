"""The retention job sweeps due conversations at its pace, sleeps while none is due, and survives every failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chat_service.model.retention import RetentionPolicy
from chat_service.retention.job import SWEEP_PAUSE_S, RetentionJob
from chat_service.retention.ports import DueConversation
from chat_service.retention.sweep import SweepResult
from servicekit.errors import StoreUnavailable
from tests.clock import ManualClock
from tests.eventually import run_ready

POLICY = RetentionPolicy(sweep_interval_s=60.0)


class FakeRetentionStore:
    """A fake of the store and the sweep: each query returns the next of `rounds`, and then no conversation is due."""

    def __init__(self, *rounds: list[str] | Exception) -> None:
        self.rounds = list(rounds)
        self.queries = 0
        self.swept: list[str] = []
        self.failing: set[str] = set()

    async def list_due(self, *_: object) -> list[DueConversation]:
        self.queries += 1
        found = self.rounds.pop(0) if self.rounds else []
        if isinstance(found, Exception):
            raise found
        return [DueConversation(each, None) for each in found]

    async def sweep(self, due: DueConversation) -> SweepResult:
        self.swept.append(due.conversation_id)
        if due.conversation_id in self.failing:
            raise ZeroDivisionError
        return SweepResult()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def tasks() -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def job(store: Any, clock: ManualClock) -> RetentionJob:
    return RetentionJob(store, store, POLICY, clock, lambda _: True)


async def test_job_sleeps_until_conversations_are_due_and_keeps_its_pace(
    clock: ManualClock, tasks: list[asyncio.Task[None]]
) -> None:
    store = FakeRetentionStore([], ["one", "two"])
    tasks.append(asyncio.create_task(job(store, clock).run()))
    await run_ready()
    clock.advance(POLICY.sweep_interval_s - 0.1)
    await run_ready()
    assert (store.queries, store.swept) == (1, [])
    clock.advance(0.1)
    await run_ready()
    assert (store.queries, store.swept) == (2, ["one"])
    clock.advance(SWEEP_PAUSE_S)
    await run_ready()
    assert store.swept == ["one", "two"]
    clock.advance(SWEEP_PAUSE_S)
    await run_ready()
    assert store.queries == 3, "the job queries again after a batch"


async def test_job_survives_failed_sweep_and_unavailable_store(
    clock: ManualClock, tasks: list[asyncio.Task[None]]
) -> None:
    store = FakeRetentionStore(["bad", "good"], StoreUnavailable(), ["late"])
    store.failing = {"bad"}
    tasks.append(asyncio.create_task(job(store, clock).run()))
    await run_ready()
    assert store.swept == ["bad", "good"]
    clock.advance(SWEEP_PAUSE_S)
    await run_ready()
    assert store.queries == 2
    clock.advance(POLICY.sweep_interval_s)
    await run_ready()
    assert store.swept == ["bad", "good", "late"]

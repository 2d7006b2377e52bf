"""Retries while a store or a service is unavailable: which errors are retried, and how a cancellation ends them."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from servicekit.errors import ServiceUnavailable, StoreUnavailable
from servicekit.retry import SERVICE_ERRORS, retry_while_unavailable


class Step:
    """A call that raises `failures`, one an attempt, and then returns "done"."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.attempts = 0

    async def __call__(self) -> str:
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def retries(call: str) -> float:
    return REGISTRY.get_sample_value("parley_store_retries_total", {"call": call}) or 0.0


async def test_call_is_retried_and_counted_while_the_store_is_unavailable() -> None:
    step, before = Step(StoreUnavailable(), StoreUnavailable()), retries("step")
    assert await retry_while_unavailable("step", step) == "done"
    assert (step.attempts, retries("step") - before) == (3, 2)


async def test_unavailable_service_is_retried_only_if_its_error_is_named() -> None:
    with pytest.raises(ServiceUnavailable):
        await retry_while_unavailable("step", Step(ServiceUnavailable()))
    step = Step(ServiceUnavailable(), StoreUnavailable())
    assert await retry_while_unavailable("step", step, errors=SERVICE_ERRORS) == "done"
    assert step.attempts == 3


async def test_cancellation_that_an_attempt_swallows_ends_the_retries() -> None:
    attempts = 0

    async def swallow() -> None:
        nonlocal attempts
        attempts += 1
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StoreUnavailable from None

    task = asyncio.create_task(retry_while_unavailable("step", swallow))
    await asyncio.wait([task])
    assert (task.cancelled(), attempts) == (True, 1)

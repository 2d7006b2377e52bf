"""Passwords are verified off the event loop with bounded concurrency and without revealing which accounts exist."""

import asyncio
import os
import threading
from collections.abc import Iterator
from threading import Event
from typing import Literal

import pytest
from argon2 import PasswordHasher, extract_parameters

from chat_service.accounts.passwords import NICENESS, PasswordHasherPool
from servicekit.errors import ServerBusy
from tests.eventually import eventually, run_ready

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def passwords() -> Iterator[PasswordHasherPool]:
    made = PasswordHasherPool(max_concurrent=1, max_waiting=2, hasher=QUICK)
    yield made
    made.close()


async def test_password_matches_only_its_hash(passwords: PasswordHasherPool) -> None:
    stored = await passwords.hash("correct horse")
    assert stored.startswith("$argon2id$")
    assert await passwords.verify("correct horse", stored)
    assert not await passwords.verify("battery staple", stored)
    assert not await passwords.verify("correct horse", None)


async def test_password_is_unicode_normalized(passwords: PasswordHasherPool) -> None:
    assert await passwords.verify("cafe\u0301 au lait", await passwords.hash("caf\u00e9 au lait"))


async def test_unknown_name_costs_a_full_verification() -> None:
    compared: list[str] = []

    class Recording(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
            compared.append(str(hash))
            return super().verify(hash, password)

    passwords = PasswordHasherPool(hasher=Recording(time_cost=1, memory_cost=8, parallelism=1))
    assert not await passwords.verify("anything", None)
    passwords.close()
    assert len(compared) == 1
    assert QUICK.check_needs_rehash(compared[0]) is False


async def test_hash_with_weaker_parameters_is_outdated(passwords: PasswordHasherPool) -> None:
    weaker = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1).hash("correct horse")
    assert passwords.is_outdated(weaker)
    assert not passwords.is_outdated(await passwords.hash("correct horse"))


async def test_verification_queue_is_bounded() -> None:
    go = Event()

    class Held(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
            go.wait(10)
            return super().verify(hash, password)

    passwords = PasswordHasherPool(
        max_concurrent=1, max_waiting=2, hasher=Held(time_cost=1, memory_cost=8, parallelism=1)
    )
    waiting = [asyncio.create_task(passwords.verify("x", None)) for _ in range(3)]
    await run_ready()
    with pytest.raises(ServerBusy) as caught:
        await passwords.verify("x", None)
    assert caught.value.retry_after
    go.set()
    assert await asyncio.gather(*waiting) == [False, False, False]
    assert not await passwords.verify("x", None)
    passwords.close()


async def test_hash_is_made_by_threads_of_low_priority() -> None:
    priorities: list[int] = []

    class Recording(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
            priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            return super().verify(hash, password)

    passwords = PasswordHasherPool(hasher=Recording(time_cost=1, memory_cost=8, parallelism=1))
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    await passwords.verify("x", None)
    passwords.close()
    assert priorities == [before + NICENESS]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


async def test_hash_takes_one_thread_and_hashes_of_several_lanes_stay_valid() -> None:
    passwords = PasswordHasherPool()
    assert extract_parameters(await passwords.hash("correct horse")).parallelism == 1
    stored = PasswordHasher(time_cost=1, memory_cost=64, parallelism=4).hash("correct horse")
    assert await passwords.verify("correct horse", stored)
    assert passwords.is_outdated(stored)
    passwords.close()


async def test_cancelled_hash_keeps_its_slot_until_its_thread_is_done() -> None:
    go, running = Event(), list[int]()

    class Held(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
            running.append(1)
            go.wait(10)
            return super().verify(hash, password)

    passwords = PasswordHasherPool(
        max_concurrent=1, max_waiting=1, hasher=Held(time_cost=1, memory_cost=8, parallelism=1)
    )
    cancelled = asyncio.create_task(passwords.verify("x", None))
    await eventually(lambda: running)
    cancelled.cancel()
    waiting = asyncio.create_task(passwords.verify("x", None))
    await run_ready()
    with pytest.raises(ServerBusy):
        await passwords.verify("x", None)
    go.set()
    assert not await waiting
    passwords.close()

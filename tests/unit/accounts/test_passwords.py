"""Passwords are verified off the event loop with bounded concurrency and without revealing which accounts exist."""

import asyncio
from collections.abc import Iterator
from threading import Event
from typing import Literal

import pytest
from argon2 import PasswordHasher

from chat_service.accounts.passwords import PasswordHasherPool
from servicekit.errors import RateLimited
from tests.eventually import run_ready

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
    with pytest.raises(RateLimited) as caught:
        await passwords.verify("x", None)
    assert caught.value.retry_after
    go.set()
    assert await asyncio.gather(*waiting) == [False, False, False]
    assert not await passwords.verify("x", None)
    passwords.close()

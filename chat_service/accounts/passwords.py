"""Passwords: argon2id, off the event loop, so many at once and no more.

A hash takes about 200 ms of CPU and 64 MiB, on purpose; without a bound a few sign-ins would hold up all messages.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from chat_service.errors import RateLimited

T = TypeVar("T")

MAX_CONCURRENT_HASHES = max(1, (os.cpu_count() or 1) // 2)
MAX_WAITING_HASHES = 64
RETRY_AFTER_S = 5.0


class PasswordHasherPool:
    """Hashes and compares passwords, `at_once` in threads while up to `waiting` more wait for one.

    Both raise RateLimited when more want to.
    """

    def __init__(
        self,
        *,
        max_concurrent: int = MAX_CONCURRENT_HASHES,
        max_waiting: int = MAX_WAITING_HASHES,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(max_concurrent, thread_name_prefix="password")
        self._free_slots = max_concurrent + max_waiting
        # What the password of a name that does not exist is compared with, so that it takes as long.
        self._decoy_hash = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        """The hash to store, with its salt and parameters in it."""
        return await self._in_thread(lambda: self._hasher.hash(_composed(password)))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether the password is the one of `stored`; False for None, after as long a time."""
        return await self._in_thread(lambda: self._matches(password, stored))

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """Lets the threads end; hashes that still wait are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: str, stored: str | None) -> bool:
        try:
            self._hasher.verify(self._decoy_hash if stored is None else stored, _composed(password))
        except VerifyMismatchError:
            return False
        return stored is not None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._free_slots == 0:
            raise RateLimited("too many are signing in at the moment", retry_after=RETRY_AFTER_S)
        self._free_slots -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._free_slots += 1


def _composed(password: str) -> str:
    """One form for what keyboards write in several."""
    return unicodedata.normalize("NFC", password)

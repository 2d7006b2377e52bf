"""Password hashes: argon2id in a bounded thread pool.

By design a hash takes about 200 ms of CPU and 64 MiB. Without a bound a few sign-ins would delay all messages.
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

from servicekit.errors import RateLimited

T = TypeVar("T")

MAX_CONCURRENT_HASHES = max(1, (os.cpu_count() or 1) // 2)
MAX_WAITING_HASHES = 64
RETRY_AFTER_S = 5.0


class PasswordHasherPool:
    """A thread pool that hashes and verifies passwords: `max_concurrent` run while up to `max_waiting` wait.

    `hash` and `verify` raise RateLimited beyond that.
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
        # The password of an unknown login name is compared with this hash, so that the refusal takes the same time.
        self._decoy_hash = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str) -> str:
        """Return the hash to store, which contains its salt and parameters."""
        return await self._in_thread(lambda: self._hasher.hash(_normalize(password)))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Return True if the password matches `stored`; False for None, after the same time."""
        return await self._in_thread(lambda: self._matches(password, stored))

    def is_outdated(self, stored: str) -> bool:
        """Return True if a hash was made with other parameters than the current ones."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """Stop the threads and drop the queued hashes. Do not wait for those that run."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: str, stored: str | None) -> bool:
        try:
            self._hasher.verify(self._decoy_hash if stored is None else stored, _normalize(password))
        except VerifyMismatchError:
            return False
        return stored is not None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._free_slots == 0:
            raise RateLimited("too many passwords are being checked", retry_after=RETRY_AFTER_S)
        self._free_slots -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._free_slots += 1


def _normalize(password: str) -> str:
    """Return the password in NFC: keyboards compose the same characters differently."""
    return unicodedata.normalize("NFC", password)

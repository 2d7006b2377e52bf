"""Password hashes: argon2id in a bounded thread pool of low priority, for client addresses in turn.

By design a hash takes about 200 ms of CPU and 64 MiB. Without a bound a few sign-ins would delay all messages, and
without turns one address would delay the sign-ins of all others.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from chat_service.accounts.fair_queue import FairQueue

T = TypeVar("T")

MAX_CONCURRENT_HASHES: Final = max(1, (os.cpu_count() or 1) // 2)
# Waiting hashes per running one, which wait for about 20 s in all, and those of one client address.
MAX_WAITING_HASHES: Final = 64
MAX_WAITING_PER_ADDRESS: Final = 16
# The nice value of the threads: a hash takes about a quarter of a core that another thread wants.
NICENESS: Final = 5


class PasswordHasherPool:
    """A thread pool that hashes and verifies passwords, `max_concurrent` at a time.

    Up to `max_waiting` others wait, `max_waiting_per_address` of each client address. `hash` and `verify` raise
    ServerBusy beyond that.
    """

    def __init__(
        self,
        *,
        max_concurrent: int = MAX_CONCURRENT_HASHES,
        max_waiting: int = MAX_WAITING_HASHES * MAX_CONCURRENT_HASHES,
        max_waiting_per_address: int = MAX_WAITING_PER_ADDRESS,
        hasher: PasswordHasher | None = None,
    ) -> None:
        # One lane: each lane is a thread, and the pool bounds the threads.
        self._hasher = hasher or PasswordHasher(parallelism=1)
        self._threads = ThreadPoolExecutor(
            max_concurrent, thread_name_prefix="password", initializer=_lower_thread_priority
        )
        self._queue = FairQueue(max_concurrent, max_waiting=max_waiting, max_waiting_per_key=max_waiting_per_address)
        # The password of an unknown login name is compared with this hash, so that the refusal takes the same time.
        self._decoy_hash = self._hasher.hash(secrets.token_hex(16))

    async def hash(self, password: str, address: str = "") -> str:
        """Return the hash to store, which contains its salt and parameters. `address` is the client's."""
        return await self._in_thread(address, lambda: self._hasher.hash(_normalize(password)))

    async def verify(self, password: str, stored: str | None, address: str = "") -> bool:
        """Return True if the password matches `stored`; False for None, after the same time."""
        return await self._in_thread(address, lambda: self._matches(password, stored))

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

    async def _in_thread(self, address: str, work: Callable[[], T]) -> T:
        await self._queue.acquire(address)
        loop, hashing = asyncio.get_running_loop(), self._threads.submit(work)

        def release(_: object) -> None:
            # The loop is closed if the process is stopping.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._queue.release)

        # A thread does not stop when its caller is cancelled, and keeps its slot until it is done.
        hashing.add_done_callback(release)
        return await asyncio.wrap_future(hashing)


def _lower_thread_priority() -> None:
    """Lower the priority of the current thread, and so of threads that it starts: Linux has a nice value for each."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def _normalize(password: str) -> str:
    """Return the password in NFC: keyboards compose the same characters differently."""
    return unicodedata.normalize("NFC", password)

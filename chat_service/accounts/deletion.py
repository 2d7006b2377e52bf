"""The deletion of accounts: one durable mark, then idempotent steps that any server can resume.

Once the account is marked, no user sees it. The steps may be interrupted anywhere and are repeated: all devices are
signed out, which the caller waits for, and a job makes the user leave all groups, which may be thousands, and purges
the data kept for this user alone. The account itself is purged PURGE_DELAY_S after the mark, by a server
whose sweep finds it. By then every operation that was in flight when the mark was set, such as adding the user to a
group, has ended; the sweep repeats the steps first, which undoes it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from chat_service.accounts.ports import AccountStore, DeviceStore
from chat_service.accounts.sign_in_sessions import SignInSessions
from servicekit import audit
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.tasks import cancel_requested, gather_limited

PURGE_DELAY_S: Final = 60.0
# Accounts that one sweep handles.
MAX_SWEEP_ACCOUNTS: Final = 100
# Deletions that run at once: one of a user with thousands of groups does not hold up the others.
MAX_CONCURRENT_DELETIONS: Final = 4
# Deletions that wait to run; a sweep finds those beyond them.
MAX_WAITING_DELETIONS: Final = 1000

log = structlog.get_logger("accounts.deletion")

LeaveGroups = Callable[[str], Awaitable[None]]
"""Makes a user leave all groups. Idempotent. Raises Failure: it is repeated later."""
PurgeUser = Callable[[str], Awaitable[None]]
"""Removes data kept for a user. Idempotent. Raises Failure: it is repeated later."""


class AccountDeletion:
    """Deletes accounts. `purges` remove the data that other components keep of a user, in order."""

    def __init__(
        self,
        store: AccountStore,
        devices: DeviceStore,
        sessions: SignInSessions,
        clock: Clock,
        leave_groups: LeaveGroups,
        purges: Sequence[PurgeUser],
        purge_delay_s: float = PURGE_DELAY_S,
    ) -> None:
        self._store = store
        self._devices = devices
        self._sessions = sessions
        self._clock = clock
        self._leave_groups = leave_groups
        self._purges = purges
        self._purge_delay_s = purge_delay_s
        self._begun: asyncio.Queue[str] = asyncio.Queue(MAX_WAITING_DELETIONS)
        # The users whose data this server is deleting.
        self._running: set[str] = set()

    async def begin(self, user_id: str) -> None:
        """Mark an account and sign its devices out; the job does the rest. Idempotent.

        Raise Failure if the mark was not written, or if the streams of a device could not be ended: the job repeats it.
        """
        await self._store.mark_deleting(user_id, self._clock.now_ms())
        with suppress(asyncio.QueueFull):
            self._begun.put_nowait(user_id)
        await self._sessions.sign_out_others(user_id, "")

    async def run(self) -> None:
        """Run the deletions that began here, and at intervals those of all servers, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep_loop())
            for _ in range(MAX_CONCURRENT_DELETIONS):
                group.create_task(self._deletion_loop())

    async def _deletion_loop(self) -> None:
        while not cancel_requested():
            await self._resume(await self._begun.get(), purge=False)

    async def _sweep_loop(self) -> None:
        while not cancel_requested():
            # Jitter: servers that started together do not sweep together.
            await self._clock.sleep(self._purge_delay_s * random.uniform(0.5, 1.0))  # noqa: S311
            try:
                await self.resume_deletions()
            except Failure as failure:
                log.warning("deletion sweep failed", error=failure.message)

    async def resume_deletions(self) -> None:
        """Run the steps of at most MAX_SWEEP_ACCOUNTS deletions, and purge the accounts that are due."""

        async def resume(deletion: tuple[str, int]) -> None:
            user_id, marked_ms = deletion
            await self._resume(user_id, purge=self._clock.now_ms() - marked_ms >= self._purge_delay_s * 1000)

        deletions = await self._store.list_deleting(MAX_SWEEP_ACCOUNTS)
        await gather_limited(resume, deletions, limit=MAX_CONCURRENT_DELETIONS)

    async def _resume(self, user_id: str, *, purge: bool) -> None:
        """Run the steps of a deletion, unless they run already; with `purge`, also purge the account."""
        if user_id in self._running:
            return
        self._running.add(user_id)
        try:
            await self._delete_user_data(user_id)
            if purge:
                await self._purge(user_id)
        except Failure as failure:
            # One failed deletion does not hold up the others.
            log.warning("account deletion failed", user_id=user_id, error=failure.message)
        finally:
            self._running.discard(user_id)

    async def _delete_user_data(self, user_id: str) -> None:
        await self._sessions.sign_out_others(user_id, "")
        await self._leave_groups(user_id)
        for purge in self._purges:
            await purge(user_id)

    async def _purge(self, user_id: str) -> None:
        await self._store.release_name(user_id)
        await self._devices.delete(user_id)
        await self._store.purge(user_id, self._clock.now_ms())
        audit.record_event("account_purge", {"user": user_id})

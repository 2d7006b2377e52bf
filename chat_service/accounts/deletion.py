"""The end of an account: decided by one mark, then carried out step by step, by whichever server is there.

From the mark on the user is gone for everybody. What follows may be cut short anywhere and be done again: all devices
are signed out, the user leaves all groups, and what is kept of the user alone is forgotten. The last steps wait for
MARGIN_S after the mark and are taken by a server that looks for such accounts now and then: by then nothing that was
under way when the mark was set, such as being added to a group, can come any more, and what came is undone first.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from chat_service.accounts.ports import AccountStore, DeviceStore
from chat_service.accounts.sign_in_sessions import SignInSessions
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.tasks import cancel_requested

PURGE_DELAY_S: Final = 60.0
# How many accounts one look takes on.
MAX_SWEEP_ACCOUNTS: Final = 100

log = structlog.get_logger("accounts.deletion")

LeaveGroups = Callable[[str], Awaitable[None]]
"""Has a user leave all groups, those that were left already too. Raises Failure: then again later."""
PurgeUser = Callable[[str], Awaitable[None]]
"""Drops what is kept of a user; again changes nothing. Raises Failure: then again later."""


class AccountDeletion:
    """Ends accounts. `forgets` are what others keep of users, in the order in which it goes."""

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

    async def begin(self, user_id: str) -> None:
        """Ends an account, but for its last traces; may be repeated. Raises Failure: the account ends all the same."""
        await self._store.mark_deleting(user_id, self._clock.now_ms())
        await self._delete_user_data(user_id)

    async def run(self) -> None:
        """Go on, until cancelled, with what was begun here or elsewhere."""
        while not cancel_requested():
            # At their own moments, so that servers that started together do not all do the same.
            await self._clock.sleep(self._purge_delay_s * random.uniform(0.5, 1.0))  # noqa: S311
            try:
                await self.resume_deletions()
            except Failure as failure:
                log.warning("cannot look for deletions now", error=failure.message)

    async def resume_deletions(self) -> None:
        """Go on with all accounts that are ending."""
        for user_id, since_ms in await self._store.list_deleting(MAX_SWEEP_ACCOUNTS):
            try:
                await self._delete_user_data(user_id)
                if self._clock.now_ms() - since_ms >= self._purge_delay_s * 1000:
                    await self._purge(user_id)
            except Failure as failure:
                # The others need not wait for what this one waits for.
                log.warning("cannot go on with a deletion now", user_id=user_id, error=failure.message)

    async def _delete_user_data(self, user_id: str) -> None:
        await self._sessions.sign_out_others(user_id, "")
        await self._leave_groups(user_id)
        for forget in self._purges:
            await forget(user_id)

    async def _purge(self, user_id: str) -> None:
        await self._store.release_name(user_id)
        await self._devices.delete(user_id)
        await self._store.purge(user_id, self._clock.now_ms())
        log.info("an account is gone", user_id=user_id)

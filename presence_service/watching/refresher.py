"""Decides again who may see whom, when settings or relations change while a watch is open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from presence_service.model.visibility import Permission
from presence_service.watching.permissions import Permissions
from presence_service.watching.watches import Watches
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.tasks import cancel_requested

RETRY_INTERVAL_S: Final = 1.0
MAX_CONCURRENT: Final = 8

_Change = tuple[str, str]

log = structlog.get_logger("permissions")


class PermissionRefresher:
    """Gives the watches of this server their new permissions. `run` does what was noted."""

    def __init__(self, watches: Watches, permissions: Permissions, clock: Clock) -> None:
        self._watches = watches
        self._permissions = permissions
        self._clock = clock
        # Users and, for a relation, the other user; each once.
        self._due = dict[_Change, None]()
        # What is being decided, and whether something has changed meanwhile that concerns the same users.
        self._in_progress: dict[_Change, bool] = {}
        self._wake = asyncio.Event()

    def on_changed(self, user_id: str, other_id: str) -> None:
        """Decide again soon what concerns a user, or, with `other_id`, what concerns two users."""
        users = {user_id, other_id} - {""}
        self._watches.note_permissions_changed(users)
        for change in self._in_progress:
            self._in_progress[change] |= not users.isdisjoint(change)
        if self._watches.viewers_of(user_id) or self._watches.watched_by(user_id):
            self._decide_later((user_id, other_id))

    def refresh_all(self) -> None:
        """Decide again soon what all users may see, because changes may not have been heard."""
        for viewer_id in self._watches.all_viewers():
            self.on_changed(viewer_id, "")

    async def run(self) -> None:
        """Decide again until cancelled, MAX_CONCURRENT changes at a time."""
        async with asyncio.TaskGroup() as group:
            while not cancel_requested():
                await self._wake.wait()
                self._wake.clear()
                ready = [change for change in self._due if change not in self._in_progress]
                for change in ready[: MAX_CONCURRENT - len(self._in_progress)]:
                    del self._due[change]
                    self._in_progress[change] = False
                    group.create_task(self._decide(change))

    def _decide_later(self, change: _Change) -> None:
        self._due[change] = None
        self._wake.set()

    async def _decide(self, change: _Change) -> None:
        """Decide a change; again later if that fails, or if the answer may be older than another change."""
        try:
            found = await self._find(*change)
            if self._in_progress[change]:
                self._decide_later(change)
                return
            for viewer_id, permissions in found:
                self._watches.replace_permissions(viewer_id, permissions)
        except Failure as failure:
            log.warning("permission refresh failed, retrying", user_id=change[0], error=failure.message)
            await self._clock.sleep(RETRY_INTERVAL_S)
            self._decide_later(change)
        finally:
            del self._in_progress[change]
            self._wake.set()

    async def _find(self, user_id: str, other_id: str) -> list[tuple[str, Mapping[str, Permission]]]:
        """Return viewers with their new permissions."""
        if other_id:
            pairs = [(user_id, other_id), (other_id, user_id)]
            watching = [(viewer, shown) for viewer, shown in pairs if shown in self._watches.watched_by(viewer)]
            return [(viewer, await self._permissions.find_for_viewer(viewer, [shown])) for viewer, shown in watching]
        found = list[tuple[str, Mapping[str, Permission]]]()
        if watched := self._watches.watched_by(user_id):
            found.append((user_id, await self._permissions.find_for_viewer(user_id, watched)))
        if viewers := self._watches.viewers_of(user_id):
            permissions = await self._permissions.find_for_viewers(user_id, viewers)
            found += [(viewer, {user_id: permission}) for viewer, permission in permissions.items()]
        return found

"""The watches of this server: the presence of watched users as it changes, told to those who may see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from prometheus_client import Counter, Gauge

from presence_service.model.presence import Presence
from presence_service.model.visibility import Permission, restrict
from presence_service.watching.observer import PresenceObserver
from presence_service.watching.permissions import Permissions
from servicekit.clock import Clock
from servicekit.tasks import cancel_requested

# Changes that come within this time of each other are told together.
TICK_S: Final = 0.1
# A user whose presence changes more often is told at most so often.
USER_INTERVAL_S: Final = 1.0
# Watches that begin at once, so that what they need is read together: many do when their presence server has died.
MAX_STARTS: Final = 100

Tell = Callable[[Sequence[tuple[str, Presence]]], None]
"""Tells a watcher the presence of users, as the watcher may see it."""

_PERMISSIONS: Final = tuple(Permission)

_watches = Gauge("parley_presence_watches", "Watches at this server")
_changes_told = Counter("parley_presence_changes_told", "Presences told to watches")


@dataclass(eq=False, slots=True)
class Watch:
    """The users that one device watches, what it may see of them, and what it was told."""

    viewer_id: str
    tell: Tell
    permissions: dict[str, Permission]
    told: dict[str, Presence] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _WatchedUser:
    watches: set[Watch] = field(default_factory=set)
    told_at: float = float("-inf")
    is_due: bool = False


class Watches:
    """The watches of this server. `run` tells what changes."""

    def __init__(self, observer: PresenceObserver, permissions: Permissions, clock: Clock) -> None:
        self._observer = observer
        self._permissions = permissions
        self._clock = clock
        self._users: dict[str, _WatchedUser] = {}
        self._by_viewer: dict[str, set[Watch]] = {}
        # For each watch that is about to begin: the users whose permissions have changed meanwhile.
        self._starting: list[set[str]] = []
        self._starts = asyncio.Semaphore(MAX_STARTS)
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        observer.connect(self._mark)

    async def start(self, viewer_id: str, user_ids: Collection[str], tell: Tell) -> tuple[Watch, list[Presence]]:
        """Begin a watch, and return it with the presence of each user. Raise StoreUnavailable, ServiceUnavailable."""
        async with self._starts:
            return await self._start(viewer_id, user_ids, tell)

    async def _start(self, viewer_id: str, user_ids: Collection[str], tell: Tell) -> tuple[Watch, list[Presence]]:
        changed = set[str]()
        self._starting.append(changed)
        self._observer.hold(user_ids)
        try:
            await self._observer.load(user_ids)
            permissions = await self._permissions.find_for_viewer(viewer_id, user_ids)
            while changed & {viewer_id, *user_ids}:
                changed.clear()
                permissions = await self._permissions.find_for_viewer(viewer_id, user_ids)
            # In the order of the request, whatever the order of decisions.
            return self._begin(Watch(viewer_id, tell, {user_id: permissions[user_id] for user_id in user_ids}))
        finally:
            self._starting.remove(changed)
            self._observer.release(user_ids)

    def _begin(self, watch: Watch) -> tuple[Watch, list[Presence]]:
        for user_id, permission in watch.permissions.items():
            self._observer.require_known(user_id)
            watch.told[user_id] = restrict(self._observer.presence_of(user_id), permission)
        self._observer.hold(watch.permissions)
        for user_id in watch.permissions:
            self._users.setdefault(user_id, _WatchedUser()).watches.add(watch)
        self._by_viewer.setdefault(watch.viewer_id, set()).add(watch)
        _watches.inc()
        return watch, list(watch.told.values())

    def end(self, watch: Watch) -> None:
        """End a watch."""
        _watches.dec()
        viewers = self._by_viewer[watch.viewer_id]
        viewers.discard(watch)
        if not viewers:
            del self._by_viewer[watch.viewer_id]
        for user_id in watch.permissions:
            self._users[user_id].watches.discard(watch)
            if not self._users[user_id].watches:
                del self._users[user_id]
        self._observer.release(watch.permissions)

    async def find(self, viewer_id: str, user_ids: Collection[str]) -> list[Presence]:
        """Return the presence of each user, as the viewer may see it. Raise StoreUnavailable, ServiceUnavailable."""
        permissions = await self._permissions.find_for_viewer(viewer_id, user_ids)
        presences = await self._observer.find(user_ids)
        return [restrict(presences[user_id], permissions[user_id]) for user_id in user_ids]

    def viewers_of(self, user_id: str) -> set[str]:
        """Return the users who watch a user here."""
        user = self._users.get(user_id)
        return {watch.viewer_id for watch in user.watches} if user is not None else set()

    def watched_by(self, viewer_id: str) -> set[str]:
        """Return the users whom a user watches here."""
        return {user_id for watch in self._by_viewer.get(viewer_id, ()) for user_id in watch.permissions}

    def note_permissions_changed(self, user_ids: Iterable[str]) -> None:
        """Make watches that are about to begin decide again what may be seen of, or by, these users."""
        for changed in self._starting:
            changed.update(user_ids)

    def replace_permissions(self, viewer_id: str, permissions: Mapping[str, Permission]) -> None:
        """Tell the watches of a user at once what follows from other permissions."""
        for watch in self._by_viewer.get(viewer_id, ()):
            concerned = permissions.keys() & watch.permissions.keys()
            watch.permissions.update({user_id: permissions[user_id] for user_id in concerned})
            self._tell(watch, concerned)

    def all_viewers(self) -> set[str]:
        """Return all users who watch somebody here."""
        return set(self._by_viewer)

    async def run(self) -> None:
        """Tell what changes, until cancelled."""
        while not cancel_requested():
            await self._wake.wait()
            await self._clock.sleep(TICK_S)
            self._wake.clear()
            changed, self._changed = self._changed, set()
            now, news = self._clock.monotonic(), dict[Watch, list[tuple[str, Presence]]]()
            for user_id in changed & self._users.keys():
                user = self._users[user_id]
                user.told_at, user.is_due = now, False
                self._add_news(news, user_id, user)
            for watch, presences in news.items():
                watch.tell(presences)
            _changes_told.inc(sum(map(len, news.values())))

    def _tell(self, watch: Watch, user_ids: Iterable[str]) -> None:
        """Tell a watch the presence of users, if it was told another one."""
        news = []
        for user_id in user_ids:
            presence = restrict(self._observer.presence_of(user_id), watch.permissions[user_id])
            if watch.told[user_id] != presence:
                watch.told[user_id] = presence
                news.append((user_id, presence))
        if news:
            _changes_told.inc(len(news))
            watch.tell(news)

    def _mark(self, user_id: str) -> None:
        """Tell the presence of a user soon, at the earliest USER_INTERVAL_S after it was told before."""
        user = self._users.get(user_id)
        if user is None or user.is_due:
            return
        user.is_due = True
        wait_s = user.told_at + USER_INTERVAL_S - self._clock.monotonic()
        if wait_s > 0:
            self._clock.call_later(wait_s, partial(self._mark_changed, user_id))
        else:
            self._mark_changed(user_id)

    def _mark_changed(self, user_id: str) -> None:
        self._changed.add(user_id)
        self._wake.set()

    def _add_news(self, news: dict[Watch, list[tuple[str, Presence]]], user_id: str, user: _WatchedUser) -> None:
        """Add the presence of a user for all who watch and were told another one."""
        observed = self._observer.presence_of(user_id)
        visible = [restrict(observed, permission) for permission in _PERMISSIONS]
        for watch in user.watches:
            presence = visible[watch.permissions[user_id]]
            if watch.told[user_id] != presence:
                watch.told[user_id] = presence
                news.setdefault(watch, []).append((user_id, presence))

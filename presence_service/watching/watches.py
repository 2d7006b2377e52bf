"""The watches of this server: the presence of watched users as it changes, told to those who may see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import structlog
from prometheus_client import Counter, Gauge

from presence_service.model.leases import NO_LEASES, Leases
from presence_service.model.ports import LastSeenStore, PresenceStore
from presence_service.model.presence import (
    CLOSE_GRACE_MS,
    NO_RECORD,
    OFFLINE,
    Presence,
    PresenceRecord,
    PresenceState,
    observe,
)
from presence_service.model.visibility import Permission, restrict
from presence_service.watching.permissions import Permissions
from servicekit.clock import Clock, Timer
from servicekit.errors import StoreUnavailable
from servicekit.tasks import cancel_requested

# Changes that come within this time of each other are told together.
TICK_S: Final = 0.1
# A user whose presence changes more often is told at most so often.
USER_INTERVAL_S: Final = 1.0
# Without a poll of the store, the clock stops after this, so that no user expires.
MAX_POLL_AGE_MS: Final = 1_500
# A change that comes by itself within this time has a timer. That a lease has ended is told by a poll; while its server
# lives, the end is always later than this.
TIMED_MS: Final = CLOSE_GRACE_MS + 2_000
# While the clock stands, a presence that would have changed is evaluated again at this interval.
MIN_WAIT_S: Final = 0.02
# Watches that begin at once, so that what they need is read together: many do when their presence server has died.
MAX_STARTS: Final = 100
# Records are read again at this interval, because a message of the store may be lost.
REPAIR_INTERVAL_S: Final = 30.0
# So many records are read at once, so that other work is done between them.
REPAIR_BATCH: Final = 200
RETRY_AFTER_S: Final = 1.0

Tell = Callable[[Sequence[tuple[str, Presence]]], None]
"""Tells a watcher the presence of users, as the watcher may see it."""

_PERMISSIONS: Final = tuple(Permission)

_watches = Gauge("parley_presence_watches", "Watches at this server")
_watched_users = Gauge("parley_presence_watched_users", "Users who are watched at this server")
_changes_told = Counter("parley_presence_changes_told", "Presences told to watches")

log = structlog.get_logger("watches")


class Channels(Protocol):
    """The messages about the records of users."""

    async def subscribe(self, user_ids: Collection[str]) -> None:
        """Return once changes of these records will be heard. Raise StoreUnavailable."""

    async def retain(self, user_ids: Collection[str]) -> None:
        """Stop hearing the changes of all other records."""


@dataclass(eq=False, slots=True)
class Watch:
    """The users that one device watches, what it may see of them, and what it was told."""

    viewer_id: str
    tell: Tell
    permissions: dict[str, Permission]
    told: dict[str, Presence] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _WatchedUser:
    record: PresenceRecord = NO_RECORD
    # Of the record; 0 after a loss of Redis, whose clock may have gone back.
    version: int = 0
    # The last time in the foreground that was ever known: Redis forgets it.
    known_seen_ms: int = 0
    presence: Presence = OFFLINE
    watches: set[Watch] = field(default_factory=set)
    # Watches that are about to begin.
    holds: int = 0
    loaded: bool = False
    told_at: float = float("-inf")
    is_due: bool = False
    timer: Timer | None = None


class Watches:
    """The watches of this server. `run` tells what changes."""

    def __init__(
        self,
        store: PresenceStore,
        last_seen: LastSeenStore,
        permissions: Permissions,
        channels: Channels,
        clock: Clock,
    ) -> None:
        self._store = store
        self._last_seen = last_seen
        self._permissions = permissions
        self._channels = channels
        self._clock = clock
        self._users: dict[str, _WatchedUser] = {}
        self._by_viewer: dict[str, set[Watch]] = {}
        # For each watch that is about to begin: the users whose permissions have changed meanwhile.
        self._starting: list[set[str]] = []
        self._starts = asyncio.Semaphore(MAX_STARTS)
        self._leases = NO_LEASES
        self._polled_at = clock.monotonic()
        # The newest epoch that is known; a read may know of it before the next poll.
        self._epoch_ms = 0
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._repair_wake = asyncio.Event()

    async def start(self, viewer_id: str, user_ids: Collection[str], tell: Tell) -> tuple[Watch, list[Presence]]:
        """Begin a watch, and return it with the presence of each user. Raise StoreUnavailable, ServiceUnavailable."""
        async with self._starts:
            return await self._start(viewer_id, user_ids, tell)

    async def _start(self, viewer_id: str, user_ids: Collection[str], tell: Tell) -> tuple[Watch, list[Presence]]:
        changed = set[str]()
        self._starting.append(changed)
        self._hold(user_ids)
        try:
            await self._load(user_ids)
            permissions = await self._permissions.find_for_viewer(viewer_id, user_ids)
            while changed & {viewer_id, *user_ids}:
                changed.clear()
                permissions = await self._permissions.find_for_viewer(viewer_id, user_ids)
            # In the order of the request, whatever the order of decisions.
            return self._begin(Watch(viewer_id, tell, {user_id: permissions[user_id] for user_id in user_ids}))
        finally:
            self._starting.remove(changed)
            self._release(user_ids)

    def _begin(self, watch: Watch) -> tuple[Watch, list[Presence]]:
        for user_id, permission in watch.permissions.items():
            user = self._users[user_id]
            self._require_known(user.record)
            watch.told[user_id] = restrict(user.presence, permission)
        for user_id in watch.permissions:
            self._users[user_id].watches.add(watch)
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
        self._drop_unwatched(watch.permissions)

    async def find(self, viewer_id: str, user_ids: Collection[str]) -> list[Presence]:
        """Return the presence of each user, as the viewer may see it. Raise StoreUnavailable, ServiceUnavailable."""
        permissions = await self._permissions.find_for_viewer(viewer_id, user_ids)
        records = await self._read(user_ids)
        seen = await self._last_seen.find_all([each for each, record in records.items() if not record.seen_ms])
        for record in records.values():
            self._require_known(record)
        return [
            restrict(self._observe(records[user_id], seen.get(user_id, 0)), permissions[user_id])
            for user_id in user_ids
        ]

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

    def on_record(self, user_id: str, record: PresenceRecord) -> None:
        """Take a record that was published or read."""
        user = self._users.get(user_id)
        if user is None:
            return
        if record.version and record.version == user.version:
            return
        if 0 < record.version < user.version or (not record.version and self._is_restoring):
            # An older message; or Redis lost it, which is no evidence until chat servers have reported again.
            return
        user.record, user.version = record, record.version
        user.known_seen_ms = 0 if record.is_erased else max(user.known_seen_ms, record.seen_ms)
        self._evaluate(user_id, user)

    def on_leases(self, leases: Leases) -> None:
        """Take the leases of the chat servers: the devices of those that ended are offline."""
        before, self._leases = self._leases, leases
        if before.epoch_ms != leases.epoch_ms:
            for user in self._users.values():
                user.version = 0
        self._epoch_ms = max(self._epoch_ms, leases.epoch_ms)
        self._polled_at = self._clock.monotonic()
        is_restored = before.is_restoring and not leases.is_restoring
        if is_restored:
            # What is missing now was lost for good.
            self._repair_wake.set()
        if before.alive == leases.alive and before.is_restoring == leases.is_restoring:
            return
        for user_id, user in self._users.items():
            if user.record.streams or is_restored:
                self._evaluate(user_id, user)

    def on_reconnected(self) -> None:
        """Read the records again soon: changes may not have been heard."""
        self._repair_wake.set()

    def all_viewers(self) -> set[str]:
        """Return all users who watch somebody here."""
        return set(self._by_viewer)

    async def read_again(self) -> None:
        """Read the records of all watched users. Raise StoreUnavailable."""
        user_ids = list(self._users)
        for start in range(0, len(user_ids), REPAIR_BATCH):
            for user_id, record in (await self._read(user_ids[start : start + REPAIR_BATCH])).items():
                self.on_record(user_id, record)

    async def run(self) -> None:
        """Tell what changes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_changes())
            group.create_task(self._repair())

    async def _tell_changes(self) -> None:
        while not cancel_requested():
            await self._wake.wait()
            await self._clock.sleep(TICK_S)
            self._wake.clear()
            changed, self._changed = self._changed, set()
            now, news = self._clock.monotonic(), dict[Watch, list[tuple[str, Presence]]]()
            for user_id in changed & self._users.keys():
                user = self._users[user_id]
                user.told_at, user.is_due = now, False
                _add_news(news, user_id, user)
            for watch, presences in news.items():
                watch.tell(presences)
            _changes_told.inc(sum(map(len, news.values())))

    async def _repair(self) -> None:
        while not cancel_requested():
            with suppress(TimeoutError):
                async with asyncio.timeout(REPAIR_INTERVAL_S):
                    await self._repair_wake.wait()
            self._repair_wake.clear()
            await self._channels.retain(self._users.keys())
            try:
                await self.read_again()
            except StoreUnavailable as failure:
                log.warning("record reload failed, retrying", error=failure.message)
                await self._clock.sleep(RETRY_AFTER_S)
                self._repair_wake.set()

    def _tell(self, watch: Watch, user_ids: Iterable[str]) -> None:
        """Tell a watch the presence of users, if it was told another one."""
        news = []
        for user_id in user_ids:
            presence = restrict(self._users[user_id].presence, watch.permissions[user_id])
            if watch.told[user_id] != presence:
                watch.told[user_id] = presence
                news.append((user_id, presence))
        if news:
            _changes_told.inc(len(news))
            watch.tell(news)

    def _hold(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            self._users.setdefault(user_id, _WatchedUser()).holds += 1
        _watched_users.set(len(self._users))

    def _release(self, user_ids: Collection[str]) -> None:
        for user_id in user_ids:
            self._users[user_id].holds -= 1
        self._drop_unwatched(user_ids)

    def _drop_unwatched(self, user_ids: Iterable[str]) -> None:
        unwatched = [each for each in user_ids if not (self._users[each].watches or self._users[each].holds)]
        for user_id in unwatched:
            if (timer := self._users.pop(user_id).timer) is not None:
                timer.cancel()
        _watched_users.set(len(self._users))

    async def _load(self, user_ids: Collection[str]) -> None:
        """Hear the changes of users, then read what is known of them."""
        missing = [user_id for user_id in user_ids if not self._users[user_id].loaded]
        if not missing:
            return
        await self._channels.subscribe(missing)
        records = await self._read(missing)
        seen = await self._last_seen.find_all(missing)
        for user_id, record in records.items():
            user = self._users[user_id]
            user.loaded = True
            user.known_seen_ms = seen.get(user_id, 0)
            self.on_record(user_id, record)

    async def _read(self, user_ids: Collection[str]) -> dict[str, PresenceRecord]:
        records = await self._store.find_all(user_ids)
        if not all(record.version for record in records.values()):
            # Presence may have been lost since the last poll.
            self._epoch_ms = max(self._epoch_ms, await self._store.find_epoch())
        return records

    @property
    def _is_restoring(self) -> bool:
        """True if a missing record is no evidence yet."""
        return self._leases.is_restoring or self._epoch_ms > self._leases.epoch_ms

    def _require_known(self, record: PresenceRecord) -> None:
        """Raise StoreUnavailable if a record is missing and that is no evidence yet."""
        if not record.version and self._is_restoring:
            raise StoreUnavailable("presence was lost and is being rebuilt; try again", retry_after=RETRY_AFTER_S)

    def _observe(self, record: PresenceRecord, known_seen_ms: int) -> Presence:
        presence = observe(record, self._leases.end_of, self._now_ms()).presence
        if presence.state is PresenceState.ONLINE:
            return presence
        return presence._replace(seen_ms=max(presence.seen_ms, known_seen_ms))

    def _evaluate(self, user_id: str, user: _WatchedUser) -> None:
        """Find the presence of a user now, and when it will change by itself."""
        if user.timer is not None:
            user.timer.cancel()
            user.timer = None
        now_ms = self._now_ms()
        until_ms = observe(user.record, self._leases.end_of, now_ms).until_ms
        if until_ms - now_ms <= TIMED_MS:
            wait_s = max((until_ms - now_ms) / 1000 + 0.001, MIN_WAIT_S)
            user.timer = self._clock.call_later(wait_s, partial(self._evaluate, user_id, user))
        presence = self._observe(user.record, user.known_seen_ms)
        if self._is_restoring and presence.state > user.presence.state:
            # The chat server of another device may not have reported it again yet.
            return
        if presence != user.presence:
            user.presence = presence
            self._mark(user_id, user)

    def _mark(self, user_id: str, user: _WatchedUser) -> None:
        """Tell the presence of a user soon, at the earliest USER_INTERVAL_S after it was told before."""
        if user.is_due:
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

    def _now_ms(self) -> float:
        age_ms = (self._clock.monotonic() - self._polled_at) * 1000
        return self._leases.now_ms + min(age_ms, MAX_POLL_AGE_MS)


def _add_news(news: dict[Watch, list[tuple[str, Presence]]], user_id: str, user: _WatchedUser) -> None:
    """Add the presence of a user for all who watch and were told another one."""
    shown = [restrict(user.presence, permission) for permission in _PERMISSIONS]
    for watch in user.watches:
        presence = shown[watch.permissions[user_id]]
        if watch.told[user_id] != presence:
            watch.told[user_id] = presence
            news.setdefault(watch, []).append((user_id, presence))

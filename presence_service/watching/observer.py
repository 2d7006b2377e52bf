"""The presence of the users who are watched at this server, observed from their records and the leases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog
from prometheus_client import Gauge

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
from servicekit.clock import Clock, Timer
from servicekit.errors import StoreUnavailable
from servicekit.tasks import cancel_requested

# Without a poll of the store, the clock stops after this, so that no user expires.
MAX_POLL_AGE_MS: Final = 1_500
# A change that comes by itself within this time has a timer. That a lease has ended is told by a poll; while its server
# lives, the end is always later than this.
TIMED_MS: Final = CLOSE_GRACE_MS + 2_000
# While the clock stands, a presence that would have changed is evaluated again at this interval.
MIN_WAIT_S: Final = 0.02
# Records are read again at this interval, because a message of the store may be lost.
REPAIR_INTERVAL_S: Final = 30.0
# So many records are read at once, so that other work is done between them.
REPAIR_BATCH: Final = 200
RETRY_AFTER_S: Final = 1.0

OnChanged = Callable[[str], None]
"""Takes a user whose presence has changed."""

_watched_users = Gauge("parley_presence_watched_users", "Users who are watched at this server")

log = structlog.get_logger("observer")


class Channels(Protocol):
    """The messages about the records of users."""

    async def subscribe(self, user_ids: Collection[str]) -> None:
        """Return once changes of these records will be heard. Raise StoreUnavailable."""

    async def retain(self, user_ids: Collection[str]) -> None:
        """Stop hearing the changes of all other records."""


@dataclass(eq=False, slots=True)
class _ObservedUser:
    record: PresenceRecord = NO_RECORD
    # Of the record; 0 after a loss of Redis, whose clock may have gone back.
    version: int = 0
    # The last time in the foreground that was ever known: Redis forgets it.
    known_seen_ms: int = 0
    presence: Presence = OFFLINE
    # Watches of the user, and those that are about to begin.
    holds: int = 0
    loaded: bool = False
    timer: Timer | None = None


class PresenceObserver:
    """Observes the users that are held. `run` reads their records again; `connect` sets the callback before."""

    def __init__(self, store: PresenceStore, last_seen: LastSeenStore, channels: Channels, clock: Clock) -> None:
        self._store = store
        self._last_seen = last_seen
        self._channels = channels
        self._clock = clock
        self._users: dict[str, _ObservedUser] = {}
        self._leases = NO_LEASES
        self._polled_at = clock.monotonic()
        # The newest epoch that is known; a read may know of it before the next poll.
        self._epoch_ms = 0
        self._repair_wake = asyncio.Event()

    def connect(self, on_changed: OnChanged) -> None:
        """Tell changes of presence to `on_changed`."""
        self._on_changed = on_changed

    def hold(self, user_ids: Iterable[str]) -> None:
        """Observe users until they are released as often as they were held."""
        for user_id in user_ids:
            self._users.setdefault(user_id, _ObservedUser()).holds += 1
        _watched_users.set(len(self._users))

    def release(self, user_ids: Collection[str]) -> None:
        """Release users that were held."""
        for user_id in user_ids:
            self._users[user_id].holds -= 1
        for user_id in [each for each in user_ids if not self._users[each].holds]:
            if (timer := self._users.pop(user_id).timer) is not None:
                timer.cancel()
        _watched_users.set(len(self._users))

    async def load(self, user_ids: Collection[str]) -> None:
        """Hear the changes of users that are held, then read what is known of them. Raise StoreUnavailable."""
        missing = [user_id for user_id in user_ids if not self._users[user_id].loaded]
        if not missing:
            return
        await self._channels.subscribe(missing)
        before = self._versions_of(missing)
        records = await self._read(missing)
        seen = await self._last_seen.find_all(missing)
        for user_id in missing:
            user = self._users[user_id]
            user.loaded = True
            user.known_seen_ms = max(user.known_seen_ms, seen.get(user_id, 0))
        self._take_read(records, before)

    def presence_of(self, user_id: str) -> Presence:
        """Return the presence of a user that is held."""
        return self._users[user_id].presence

    def require_known(self, user_id: str) -> None:
        """Raise StoreUnavailable if the record of a user that is held is missing and that is no evidence yet."""
        self._require_known(self._users[user_id].record)

    async def find(self, user_ids: Collection[str]) -> dict[str, Presence]:
        """Return the presence of users, which need not be held. Raise StoreUnavailable."""
        records = await self._read(user_ids)
        seen = await self._last_seen.find_all([each for each, record in records.items() if not record.seen_ms])
        for record in records.values():
            self._require_known(record)
        return {user_id: self._observe(record, seen.get(user_id, 0)) for user_id, record in records.items()}

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

    async def read_again(self) -> None:
        """Read the records of all users that are held. Raise StoreUnavailable."""
        user_ids = list(self._users)
        for start in range(0, len(user_ids), REPAIR_BATCH):
            batch = user_ids[start : start + REPAIR_BATCH]
            before = self._versions_of(batch)
            self._take_read(await self._read(batch), before)

    async def run(self) -> None:
        """Read the records again every REPAIR_INTERVAL_S, and when changes may not have been heard, until cancelled."""
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

    async def _read(self, user_ids: Collection[str]) -> dict[str, PresenceRecord]:
        records = await self._store.find_all(user_ids)
        if not all(record.version for record in records.values()):
            # Presence may have been lost since the last poll.
            self._epoch_ms = max(self._epoch_ms, await self._store.find_epoch())
        return records

    def _versions_of(self, user_ids: Iterable[str]) -> dict[str, int]:
        return {user_id: self._users[user_id].version for user_id in user_ids if user_id in self._users}

    def _take_read(self, records: Mapping[str, PresenceRecord], before: Mapping[str, int]) -> None:
        """Take records that were read; `before` has the versions that were known when the read began.

        A record that was missing is older than a message that came meanwhile.
        """
        for user_id, record in records.items():
            user = self._users.get(user_id)
            if user is not None and (record.version or user.version == before.get(user_id)):
                self.on_record(user_id, record)

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

    def _evaluate(self, user_id: str, user: _ObservedUser) -> None:
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
            self._on_changed(user_id)

    def _now_ms(self) -> float:
        age_ms = (self._clock.monotonic() - self._polled_at) * 1000
        return self._leases.now_ms + min(age_ms, MAX_POLL_AGE_MS)

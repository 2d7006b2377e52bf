"""The registration of a member in etcd: a record attached to a lease that is renewed, and revoked at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from prometheus_client import Counter

from servicekit.etcd import Etcd, EtcdUnreachable, LeaseLost
from servicekit.member_record import MemberRecord
from servicekit.ring import RingMember

RENEWAL_INTERVAL_S = 1.0
RETRY_INTERVAL_S = 0.2
# The others see within this time that this member leaves, and do not take its end for a loss.
LEAVING_TIMEOUT_S = 1.0

_log = structlog.get_logger("ring")
_LEASE_LOSSES = Counter("parley_lease_losses", "Leases found expired or revoked at their renewal.")


class Superseded(Exception):
    """A process with the same server id that started later has registered; this one must not write any more."""


class Registration:
    """The record of `member` at the key `prefix` + server id, kept in etcd by a lease of `ttl` seconds.

    `watched_record` returns the record at that key in the latest snapshot of the watch, and `wait_watched` waits until
    it is a given one.
    """

    def __init__(
        self,
        etcd: Etcd,
        member: RingMember,
        *,
        prefix: str,
        ttl: int,
        watched_record: Callable[[], MemberRecord | None],
        wait_watched: Callable[[MemberRecord], Awaitable[None]],
    ) -> None:
        self._etcd = etcd
        self._member = member
        self._key = prefix + member.server_id
        self._ttl = ttl
        self._watched_record = watched_record
        self._wait_watched = wait_watched
        self._lease: int | None = None
        self._is_written = False
        self._was_written = False

    async def run(self) -> None:
        """Keep the record in etcd until cancelled, then leave and revoke the lease. Raise Superseded."""
        try:
            while True:
                delay = await self._renew_or_write()
                await asyncio.sleep(delay)
        finally:
            await self._revoke_lease()

    async def _renew_or_write(self) -> float:
        """Grant or renew the lease, and write the record if it is missing. Return the seconds until the next step."""
        try:
            if self._lease is None:
                self._lease = await self._etcd.grant(self._ttl)
            else:
                await self._etcd.keep_alive(self._lease)
            if not self._is_written or self._is_overwritten(self._lease):
                self._is_written = await self._put(self._lease)
        except LeaseLost:
            _LEASE_LOSSES.inc()
            _log.warning("lease lost; granting a new one", server_id=self._member.server_id)
            self._lease, self._is_written = None, False
            return 0.0
        except EtcdUnreachable:
            return RETRY_INTERVAL_S
        return RENEWAL_INTERVAL_S

    async def _put(self, lease: int) -> bool:
        """Write the record unless a later process owns the key. Return True if the key has our record now."""
        current = await self._etcd.get(self._key)
        record = MemberRecord(self._member, lease).to_bytes()
        if current is not None and _started_ms_of(current) > self._member.started_ms:
            self._on_later_process()
            return False
        self._is_written = current == record or await self._etcd.put_if_unchanged(self._key, current, record, lease)
        self._was_written = self._was_written or self._is_written
        return self._is_written

    def _on_later_process(self) -> None:
        if self._was_written:
            raise Superseded(f"a later process has registered as {self._member.server_id}")
        # It may be a dead process whose clock was ahead; etcd deletes its record when its lease expires.
        _log.warning("server id registered by another process; waiting", server_id=self._member.server_id)

    def _is_overwritten(self, lease: int) -> bool:
        """Return True if the watched key lacks our record though its lease is alive.

        It is checked at a renewal, so one interval after the write, when the watch has delivered it.
        """
        return self._watched_record() != MemberRecord(self._member, lease)

    async def _revoke_lease(self) -> None:
        if self._lease is None:
            return
        try:
            if self._is_written:
                await self._announce_leave(self._lease)
            await self._etcd.revoke(self._lease)
        except EtcdUnreachable:
            _log.info("lease not revoked; it will expire", server_id=self._member.server_id)

    async def _announce_leave(self, lease: int) -> None:
        """Mark the record, and wait until the watch has delivered the mark."""
        record, leaving = MemberRecord(self._member, lease), MemberRecord(self._member, lease, leaving=True)
        with suppress(LeaseLost, EtcdUnreachable, TimeoutError):
            async with asyncio.timeout(LEAVING_TIMEOUT_S):
                if await self._etcd.put_if_unchanged(self._key, record.to_bytes(), leaving.to_bytes(), lease):
                    await self._wait_watched(leaving)


def _started_ms_of(record: bytes) -> int:
    """Return the start time in a record; -1 for a value that is not a record, so that every process replaces it."""
    try:
        return MemberRecord.from_bytes(record).member.started_ms
    except ValueError:
        return -1

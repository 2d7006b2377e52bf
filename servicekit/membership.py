"""Membership of the ring: the registration of this server, and its view of all members."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from servicekit.clock import Clock
from servicekit.etcd import Etcd, EtcdUnreachable
from servicekit.registration import Registration, Superseded
from servicekit.ring import Ring, RingMember
from servicekit.ring_watcher import LEASE_TTL_S, RingWatcher, members_prefix

__all__ = ["Membership", "Superseded"]

_log = structlog.get_logger("ring")


class Membership:
    """The membership of server `me` in the ring of `service`, by a lease of `ttl` seconds renewed every second."""

    def __init__(
        self, etcd: Etcd, me: RingMember, *, service: str, ttl: int = LEASE_TTL_S, clock: Clock | None = None
    ) -> None:
        self.me = me
        self._etcd = etcd
        self._watcher = RingWatcher(etcd, service=service, hold=ttl, clock=clock)
        self._registration = Registration(
            etcd,
            me,
            prefix=members_prefix(service),
            ttl=ttl,
            watched_record=lambda: self._watcher.records.get(me.server_id),
            wait_watched=self._watcher.wait_record,
        )

    @property
    def ring(self) -> Ring:
        """The active ring; the last one while etcd is unreachable."""
        return self._watcher.ring

    @property
    def registered(self) -> Mapping[str, RingMember]:
        """The members by server id: those of the ring, and those that this server skips."""
        return self._watcher.registered

    async def run(self) -> None:
        """Register and watch the members until cancelled, then leave and revoke the lease.

        Raises Superseded (in an ExceptionGroup) if a process with the same server id that started later has
        registered.
        """
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watcher.run())
            try:
                await self._registration.run()
            finally:
                # Only now: it shows the registration that the others know of the leave.
                watching.cancel()

    async def wait_registered(self) -> None:
        """Wait until the active ring contains this server."""
        await self._watcher.wait_until(lambda ring: ring.members.get(self.me.server_id) == self.me)

    def subscribe(self, callback: Callable[[Ring, Ring], None]) -> Callable[[], None]:
        """Call `callback(old, new)` at every change of the active members. Return a function that unsubscribes."""
        return self._watcher.subscribe(callback)

    async def expel_member(self, server_id: str, started_ms: int) -> bool:
        """Revoke the lease of a dead peer if its record is still of the process that started at `started_ms`.

        Return False if etcd is unreachable; the caller may skip the member then.
        """
        record = self._watcher.records.get(server_id)
        if record is None or record.member.started_ms != started_ms:
            return True
        try:
            await self._etcd.revoke(record.lease)
        except EtcdUnreachable:
            return False
        _log.warning("dead peer expelled", server_id=server_id, started_ms=started_ms)
        return True

    def skip_member(self, server_id: str, started_ms: int) -> None:
        """Take a dead peer out of the ring of this server alone, because etcd cannot do it for all."""
        self._watcher.skip_member(server_id, started_ms)

    def restore_member(self, server_id: str) -> None:
        """Put a skipped peer back into the ring of this server."""
        self._watcher.restore_member(server_id)

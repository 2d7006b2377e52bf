"""Being one of the ring: a place in it that is kept, and the view of it that all members share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from servicekit.clock import Clock
from servicekit.etcd import Etcd, EtcdUnreachable
from servicekit.registration import Registration, Superseded
from servicekit.ring import Ring, RingMember
from servicekit.ring_watcher import PREFIX, LEASE_TTL_S, RingWatcher

__all__ = ["Membership", "Superseded"]

_log = structlog.get_logger("ring")


class Membership:
    """`me` in the ring under `prefix`, by a lease of `ttl` seconds that is renewed every second."""

    def __init__(
        self, etcd: Etcd, me: RingMember, *, prefix: str = PREFIX, ttl: int = LEASE_TTL_S, clock: Clock | None = None
    ) -> None:
        self.me = me
        self._etcd = etcd
        self._watcher = RingWatcher(etcd, prefix=prefix, hold=ttl, clock=clock)
        self._registration = Registration(
            etcd, me, prefix=prefix, ttl=ttl, watched_record=lambda: self._watcher.records.get(me.server_id)
        )

    @property
    def ring(self) -> Ring:
        """The ring in force; the last one while etcd cannot be reached."""
        return self._watcher.ring

    async def run(self) -> None:
        """Register and follow until cancelled, then give the place up.

        Raises Superseded (in an ExceptionGroup) when a later process has taken the place of this one.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watcher.run())
            group.create_task(self._registration.run())

    async def wait_registered(self) -> None:
        """Until I am in my own view."""
        await self._watcher.wait_until(lambda ring: ring.members.get(self.me.server_id) == self.me)

    def subscribe(self, callback: Callable[[Ring, Ring], None]) -> Callable[[], None]:
        """Call `callback(old, new)` at every change of the members in force; returns what ends it."""
        return self._watcher.subscribe(callback)

    async def expel_member(self, server_id: str, started_ms: int) -> None:
        """End the lease of a peer that was found dead, if it is still in that life.

        While etcd cannot be reached nothing happens: the lease will expire by itself.
        """
        record = self._watcher.records.get(server_id)
        if record is None or record.member.started_ms != started_ms:
            return
        _log.warning("a dead peer is expelled", server_id=server_id, started_ms=started_ms)
        try:
            await self._etcd.revoke(record.lease)
        except EtcdUnreachable:
            _log.info("a dead peer could not be expelled; its lease will expire", server_id=server_id)

"""A member's place in etcd: its record under a lease, renewed, taken anew when lost, given up at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from prometheus_client import Counter

from servicekit.etcd import Etcd, EtcdUnreachable, LeaseLost
from servicekit.record import Record
from servicekit.ring import Member

RENEWAL = 1.0
RETRY = 0.2

_log = structlog.get_logger("ring")
_LOSSES = Counter("parley_lease_losses", "Leases that etcd had ended when they were to be renewed.")


class Superseded(Exception):
    """A process of the same server id that started later has taken the place; this one must not write any more."""


class Registration:
    """Keeps the record of `me` at `prefix` + server id. `seen` tells the record that the follower sees there."""

    def __init__(self, etcd: Etcd, me: Member, *, prefix: str, ttl: int, seen: Callable[[], Record | None]) -> None:
        self._etcd = etcd
        self._me = me
        self._key = prefix + me.server_id
        self._ttl = ttl
        self._seen = seen
        self._lease: int | None = None
        self._stands = False
        self._stood_once = False

    async def run(self) -> None:
        """Keep the record until cancelled, then give it up. Raises Superseded."""
        try:
            while True:
                pause = await self._keep()
                await asyncio.sleep(pause)
        finally:
            await self._give_up()

    async def _keep(self) -> float:
        """One step towards a record that stands; the seconds until the next."""
        try:
            if self._lease is None:
                self._lease = await self._etcd.grant(self._ttl)
            else:
                await self._etcd.keep_alive(self._lease)
            if not self._stands or self._was_removed(self._lease):
                self._stands = await self._put(self._lease)
        except LeaseLost:
            _LOSSES.inc()
            _log.warning("our lease was lost; it is granted anew", server_id=self._me.server_id)
            self._lease, self._stands = None, False
            return 0.0
        except EtcdUnreachable:
            return RETRY
        return RENEWAL

    async def _put(self, lease: int) -> bool:
        """Write the record, over nothing, over an earlier life's, or over our own; whether it stands now."""
        old = await self._etcd.get(self._key)
        record = Record(self._me, lease).to_bytes()
        if old is not None and _life(old) > self._me.started_ms:
            self._meet_a_later_life()
            return False
        self._stands = old == record or await self._etcd.replace(self._key, old, record, lease)
        self._stood_once = self._stood_once or self._stands
        return self._stands

    def _meet_a_later_life(self) -> None:
        if self._stood_once:
            raise Superseded(f"another process has taken the place of {self._me.server_id}")
        # It may be a dying process whose clock runs ahead; its record goes when its lease does.
        _log.warning("a process with our server id holds our place; waiting", server_id=self._me.server_id)

    def _was_removed(self, lease: int) -> bool:
        """Whether somebody removed or replaced the record though its lease lives. Asked a renewal after writing it."""
        return self._seen() != Record(self._me, lease)

    async def _give_up(self) -> None:
        if self._lease is None:
            return
        try:
            await self._etcd.revoke(self._lease)
        except EtcdUnreachable:
            _log.info("our lease could not be revoked; it will expire", server_id=self._me.server_id)


def _life(record: bytes) -> int:
    """When the process that wrote a record started; what is no record is older than everybody."""
    try:
        return Record.from_bytes(record).member.started_ms
    except ValueError:
        return -1

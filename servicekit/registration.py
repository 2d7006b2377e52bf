"""A member's place in etcd: its record under a lease, renewed, taken anew when lost, given up at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from prometheus_client import Counter

from servicekit.etcd import Etcd, EtcdUnreachable, LeaseLost
from servicekit.member_record import MemberRecord
from servicekit.ring import RingMember

RENEWAL_INTERVAL_S = 1.0
RETRY_INTERVAL_S = 0.2

_log = structlog.get_logger("ring")
_LEASE_LOSSES = Counter("parley_lease_losses", "Leases that etcd had ended when they were to be renewed.")


class Superseded(Exception):
    """A process of the same server id that started later has taken the place; this one must not write any more."""


class Registration:
    """Keeps the record of `me` at `prefix` + server id. `seen` tells the record that the follower sees there."""

    def __init__(
        self,
        etcd: Etcd,
        member: RingMember,
        *,
        prefix: str,
        ttl: int,
        watched_record: Callable[[], MemberRecord | None],
    ) -> None:
        self._etcd = etcd
        self._member = member
        self._key = prefix + member.server_id
        self._ttl = ttl
        self._watched_record = watched_record
        self._lease: int | None = None
        self._is_written = False
        self._was_written = False

    async def run(self) -> None:
        """Keep the record until cancelled, then give it up. Raises Superseded."""
        try:
            while True:
                pause = await self._renew_or_write()
                await asyncio.sleep(pause)
        finally:
            await self._revoke_lease()

    async def _renew_or_write(self) -> float:
        """One step towards a record that stands; the seconds until the next."""
        try:
            if self._lease is None:
                self._lease = await self._etcd.grant(self._ttl)
            else:
                await self._etcd.keep_alive(self._lease)
            if not self._is_written or self._is_overwritten(self._lease):
                self._is_written = await self._put(self._lease)
        except LeaseLost:
            _LEASE_LOSSES.inc()
            _log.warning("our lease was lost; it is granted anew", server_id=self._member.server_id)
            self._lease, self._is_written = None, False
            return 0.0
        except EtcdUnreachable:
            return RETRY_INTERVAL_S
        return RENEWAL_INTERVAL_S

    async def _put(self, lease: int) -> bool:
        """Write the record, over nothing, over an earlier life's, or over our own; whether it stands now."""
        old = await self._etcd.get(self._key)
        record = MemberRecord(self._member, lease).to_bytes()
        if old is not None and _started_ms_of(old) > self._member.started_ms:
            self._on_later_process()
            return False
        self._is_written = old == record or await self._etcd.put_if_unchanged(self._key, old, record, lease)
        self._was_written = self._was_written or self._is_written
        return self._is_written

    def _on_later_process(self) -> None:
        if self._was_written:
            raise Superseded(f"another process has taken the place of {self._member.server_id}")
        # It may be a dying process whose clock runs ahead; its record goes when its lease does.
        _log.warning("a process with our server id holds our place; waiting", server_id=self._member.server_id)

    def _is_overwritten(self, lease: int) -> bool:
        """Whether somebody removed or replaced the record though its lease lives. Asked a renewal after writing it."""
        return self._watched_record() != MemberRecord(self._member, lease)

    async def _revoke_lease(self) -> None:
        if self._lease is None:
            return
        try:
            await self._etcd.revoke(self._lease)
        except EtcdUnreachable:
            _log.info("our lease could not be revoked; it will expire", server_id=self._member.server_id)


def _started_ms_of(record: bytes) -> int:
    """When the process that wrote a record started; what is no record is older than everybody."""
    try:
        return MemberRecord.from_bytes(record).member.started_ms
    except ValueError:
        return -1

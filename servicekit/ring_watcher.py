"""The ring as etcd shows it: followed, damped, and told to whoever subscribes. Members and onlookers see it alike."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from prometheus_client import Gauge

from servicekit.clock import Clock, SystemClock
from servicekit.damping import Damping
from servicekit.etcd import Etcd, Snapshot
from servicekit.member_record import MemberRecord, parse_records
from servicekit.ring import VIRTUAL_NODES, Ring

Subscriber = Callable[[Ring, Ring], None]

PREFIX = "/parley/chat/"
LEASE_TTL_S = 3

_log = structlog.get_logger("ring")
_MEMBERS = Gauge("parley_ring_members", "Members of the ring in force.")
_REVISION = Gauge("parley_ring_revision", "The revision of etcd's store the ring in force was computed from.")


class RingWatcher:
    """Follows the members under `prefix`. While etcd cannot be reached the last ring stays in force.

    `hold` is for how many seconds a view with a drastic loss must stand before it comes into force.
    """

    def __init__(
        self,
        etcd: Etcd,
        *,
        prefix: str = PREFIX,
        hold: float = LEASE_TTL_S,
        virtual_nodes: int = VIRTUAL_NODES,
        clock: Clock | None = None,
    ) -> None:
        self._watch = etcd.watch_prefix(prefix)
        self._ring = Ring.from_members((), 0, virtual_nodes)
        self._records: Mapping[str, MemberRecord] = {}
        self._damping: Damping[Snapshot] = Damping(hold, clock or SystemClock())
        self._subscribers: dict[object, Subscriber] = {}
        self._changed = asyncio.Event()
        self._snapshot_held = asyncio.Event()

    @property
    def ring(self) -> Ring:
        """The ring in force."""
        return self._ring

    @property
    def records(self) -> Mapping[str, MemberRecord]:
        """What stood in etcd when we last saw it, by server id, though it may not be in force yet."""
        return self._records

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call `callback(old, new)` at every change of the members in force; returns what ends it."""
        token = object()
        self._subscribers[token] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(token, None)

        return unsubscribe

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_members())
            group.create_task(self._activate_held_snapshot())

    async def wait_until(self, predicate: Callable[[Ring], bool]) -> None:
        """Until the ring in force is one of which `holds` is true."""
        while not predicate(self._ring):
            await self._changed.wait()

    async def _watch_members(self) -> None:
        async for snapshot in self._watch:
            self._records = parse_records(snapshot.values)
            if self._damping.admit(snapshot, self._records.keys(), self._ring.members.keys()):
                self._activate(snapshot)
            elif not self._snapshot_held.is_set():
                _log.warning("a view that loses many members is held back", members=sorted(self._records))
                self._snapshot_held.set()

    async def _activate_held_snapshot(self) -> None:
        """Put a view that was held back into force once it has stood for long enough."""
        while True:
            await self._snapshot_held.wait()
            remaining = self._damping.remaining_s
            if remaining:
                await asyncio.sleep(remaining)
            elif (snapshot := self._damping.take_due()) is not None:
                self._activate(snapshot)
            else:
                self._snapshot_held.clear()

    def _activate(self, snapshot: Snapshot) -> None:
        old = self._ring
        members = [record.member for record in parse_records(snapshot.values).values()]
        self._ring = old.with_members(members, snapshot.revision)
        _MEMBERS.set(len(self._ring.members))
        _REVISION.set(snapshot.revision)
        # Whoever waits waits for the event of the ring it saw.
        self._changed.set()
        self._changed = asyncio.Event()
        if self._ring.members != old.members:
            self._notify_subscribers(old, self._ring)

    def _notify_subscribers(self, old: Ring, new: Ring) -> None:
        came, left = new.members.keys() - old.members.keys(), old.members.keys() - new.members.keys()
        _log.info("the ring changed", revision=new.revision, came=sorted(came), left=sorted(left))
        for subscriber in list(self._subscribers.values()):
            subscriber(old, new)

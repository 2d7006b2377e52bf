"""The active ring: a watch of the member records in etcd, damped, with callbacks for every change.

Members and observers that are not in the ring compute the same ring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from prometheus_client import Counter, Gauge

from servicekit.clock import Clock, SystemClock
from servicekit.damping import Damping
from servicekit.etcd import Etcd, Snapshot
from servicekit.member_record import MemberRecord, parse_records
from servicekit.ring import VIRTUAL_NODES, Ring, RingMember

Subscriber = Callable[[Ring, Ring], None]

LEASE_TTL_S = 3
SERVICES_PREFIX = "/parley/"
"""The prefix of the keys in etcd under which the members of all services are registered."""

_log = structlog.get_logger("ring")
_MEMBERS = Gauge("parley_ring_members", "Members of the active ring of a service.", ["service"])
_CHANGES = Counter("parley_ring_changes", "Changes of the members of the active ring of a service.", ["service"])
_REVISION = Gauge(
    "parley_ring_revision", "The etcd store revision that the active ring of a service was computed from.", ["service"]
)


def members_prefix(service: str) -> str:
    """Return the prefix of the keys in etcd under which the members of a service are registered."""
    return f"{SERVICES_PREFIX}{service}/"


class RingWatcher:
    """A watch of the members of `service`. While etcd is unreachable the last ring stays active.

    A snapshot with a drastic loss of members becomes active after `hold` seconds. Members that say that they leave are
    no loss, and are out of the ring at once, unless all leave. A registered member that is skipped is not in the ring,
    until it is restored or etcd no longer has the record of that process.
    """

    def __init__(
        self,
        etcd: Etcd,
        *,
        service: str,
        hold: float = LEASE_TTL_S,
        virtual_nodes: int = VIRTUAL_NODES,
        clock: Clock | None = None,
    ) -> None:
        self._service = service
        self._watch = etcd.watch_prefix(members_prefix(service))
        # A process watches its own service, and each service that it calls.
        self._member_gauge = _MEMBERS.labels(service)
        self._revision_gauge = _REVISION.labels(service)
        self._change_counter = _CHANGES.labels(service)
        self._ring = Ring.from_members((), 0, virtual_nodes)
        self._records: Mapping[str, MemberRecord] = {}
        self._registered: Mapping[str, RingMember] = {}
        # The start times of skipped members by server id; the next process of a server is not skipped.
        self._skipped: dict[str, int] = {}
        self._damping: Damping[Snapshot] = Damping(hold, clock or SystemClock())
        self._subscribers: dict[object, Subscriber] = {}
        self._changed = asyncio.Event()
        self._watched = asyncio.Event()
        self._snapshot_held = asyncio.Event()

    @property
    def ring(self) -> Ring:
        """The active ring."""
        return self._ring

    @property
    def records(self) -> Mapping[str, MemberRecord]:
        """The records of the latest snapshot by server id; a held snapshot counts though it is not active."""
        return self._records

    @property
    def registered(self) -> Mapping[str, RingMember]:
        """The members of the active snapshot by server id: those of the ring, and the skipped ones."""
        return self._registered

    def skip_member(self, server_id: str, started_ms: int) -> None:
        """Take the process of a member out of the ring of this observer."""
        member = self._registered.get(server_id)
        if member is not None and member.started_ms == started_ms and server_id not in self._skipped:
            self._skipped[server_id] = started_ms
            _log.warning("dead member skipped", service=self._service, server_id=server_id, started_ms=started_ms)
            self._update_ring(self._ring.revision)

    def restore_member(self, server_id: str) -> None:
        """Put a skipped member back into the ring; do nothing if it is not skipped."""
        if self._skipped.pop(server_id, None) is not None:
            _log.warning("skipped member restored", service=self._service, server_id=server_id)
            self._update_ring(self._ring.revision)

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call `callback(old, new)` at every change of the active members. Return a function that unsubscribes."""
        token = object()
        self._subscribers[token] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(token, None)

        return unsubscribe

    async def run(self) -> None:
        """Watch the members until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_members())
            group.create_task(self._activate_held_snapshot())

    async def wait_until(self, predicate: Callable[[Ring], bool]) -> None:
        """Wait until `predicate` is true of the active ring."""
        while not predicate(self._ring):
            await self._changed.wait()

    async def wait_record(self, record: MemberRecord) -> None:
        """Wait until the latest snapshot has this record."""
        while self._records.get(record.member.server_id) != record:
            await self._watched.wait()

    async def _watch_members(self) -> None:
        async for snapshot in self._watch:
            self._records = parse_records(snapshot.values)
            # A new event per snapshot, as for each ring.
            self._watched.set()
            self._watched = asyncio.Event()
            leaving = _leaving(self._records)
            members, active = self._records.keys() - leaving, self._ring.members.keys() - leaving
            if self._damping.admit(snapshot, members, active):
                self._activate(snapshot)
            elif not self._snapshot_held.is_set():
                _log.warning("ring change held back", service=self._service, members=sorted(self._records))
                self._snapshot_held.set()

    async def _activate_held_snapshot(self) -> None:
        """Activate the held snapshot once its hold time has passed."""
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
        records = parse_records(snapshot.values)
        leaving = _leaving(records)
        self._registered = {name: record.member for name, record in records.items() if name not in leaving}
        started = {name: member.started_ms for name, member in self._registered.items()}
        self._skipped = {name: at for name, at in self._skipped.items() if started.get(name) == at}
        self._update_ring(snapshot.revision)

    def _update_ring(self, revision: int) -> None:
        old = self._ring
        members = [member for name, member in self._registered.items() if name not in self._skipped]
        self._ring = old.with_members(members, revision)
        self._member_gauge.set(len(self._ring.members))
        self._revision_gauge.set(revision)
        # A new event per ring: a waiter waits for the event that it read together with the ring it checked.
        self._changed.set()
        self._changed = asyncio.Event()
        if self._ring.members != old.members:
            self._notify_subscribers(old, self._ring)

    def _notify_subscribers(self, old: Ring, new: Ring) -> None:
        self._change_counter.inc()
        joined, left = new.members.keys() - old.members.keys(), old.members.keys() - new.members.keys()
        _log.info(
            "ring changed",
            service=self._service,
            revision=new.revision,
            joined=sorted(joined),
            left=sorted(left),
            members=sorted(new.members),
        )
        for subscriber in list(self._subscribers.values()):
            subscriber(old, new)


def _leaving(records: Mapping[str, MemberRecord]) -> set[str]:
    """Return the members that leave, unless none would stay: an empty ring can serve no key."""
    leaving = {name for name, record in records.items() if record.leaving}
    return leaving if len(leaving) < len(records) else set()

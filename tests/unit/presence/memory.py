"""The ports of presence in memory, on a clock that tests advance."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

from presence_service.model.leases import CLAIM_MS, LEASE_MS, Lease, Leases
from presence_service.model.presence import DeviceStream, PresenceRecord, StreamState, Transition
from presence_service.model.visibility import STRANGERS, Audience, Pair, Relation, Visibility
from servicekit.errors import ServiceUnavailable, SessionSuperseded, StoreUnavailable
from tests.clock import ManualClock

# The holders of leases whose end was claimed: by another server, and by the report itself.
ENDING, CLOSING = CLAIMS = ("ending", "closing")


class MemoryPresenceStore:
    """Implements PresenceStore as far as one server can tell; while `away` it raises StoreUnavailable.

    It applies transitions while `applies` is set, and answers reads while `answers` is set.
    """

    def __init__(self, clock: ManualClock) -> None:
        self.records: dict[str, PresenceRecord] = {}
        self.applied: list[Transition] = []
        self.sessions: dict[tuple[str, int], dict[str, str]] = {}
        # Open sessions, each time that they were stored.
        self.stored: list[str] = []
        self.leases: dict[str, tuple[Lease, str]] = {}
        self.epoch_ms = 0
        self.opened = 0
        self.away = False
        self.applies = asyncio.Event()
        self.applies.set()
        self.answers = asyncio.Event()
        self.answers.set()
        self._clock = clock

    def _require_available(self) -> None:
        if self.away:
            raise StoreUnavailable("Redis does not answer")

    async def apply(
        self,
        server_id: str,
        incarnation: int,
        number: int,
        transitions: Sequence[Transition],
        known: Container[str] = (),
    ) -> None:
        """See PresenceStore; the records stay as they are."""
        del number
        self._require_available()
        await self.applies.wait()
        sessions = self.sessions.setdefault((server_id, incarnation), {})
        for each in transitions:
            self.applied.append(each)
            if each.state.is_open and each.session_id not in known:
                sessions[each.session_id] = each.user_id
                self.stored.append(each.session_id)
            elif each.state.is_open:
                assert each.session_id in sessions
            else:
                sessions.pop(each.session_id, None)

    async def find_all(self, user_ids: Collection[str]) -> dict[str, PresenceRecord]:
        """See PresenceStore."""
        self._require_available()
        found = {user_id: self.records.get(user_id, PresenceRecord()) for user_id in user_ids}
        await self.answers.wait()
        return found

    async def delete(self, user_id: str) -> None:
        """See PresenceStore."""
        self.records.pop(user_id, None)

    async def find_sessions(self, server_id: str, incarnation: int) -> dict[str, str]:
        """See PresenceStore."""
        self._require_available()
        return dict(self.sessions.get((server_id, incarnation), {}))

    async def find_lease(self, server_id: str) -> Lease | None:
        """See PresenceStore."""
        self._require_available()
        lease, _ = self.leases.get(server_id, (None, ""))
        return lease

    async def open_lease(self, server_id: str, incarnation: int, report_id: str) -> int:
        """See PresenceStore."""
        self._require_available()
        lease, holder = self.leases.get(server_id, (Lease(0, 0), ""))
        if holder in CLAIMS and self._clock.now_ms() - lease.renewed_ms < CLAIM_MS:
            raise SessionSuperseded("the streams of this server are being ended; connect again")
        self.opened += 1
        self.leases[server_id] = Lease(incarnation, self._clock.now_ms(), self.opened, is_complete=False), report_id
        return self.opened

    async def complete_lease(self, server_id: str, number: int) -> None:
        """See PresenceStore."""
        self._require_available()
        lease, report_id = self.leases[server_id]
        if lease.number == number:
            self.leases[server_id] = replace(lease, is_complete=True), report_id

    async def renew_lease(self, server_id: str, report_id: str) -> bool:
        """See PresenceStore."""
        self._require_available()
        lease, holder = self.leases.get(server_id, (Lease(0, 0), ""))
        if holder != report_id or self._clock.now_ms() - lease.renewed_ms >= LEASE_MS:
            return False
        self.leases[server_id] = replace(lease, renewed_ms=self._clock.now_ms()), holder
        return True

    async def claim_end(self, server_id: str, incarnation: int, report_id: str = "") -> bool:
        """See PresenceStore."""
        self._require_available()
        lease, holder = self.leases.get(server_id, (Lease(0, 0), ""))
        valid_ms = CLAIM_MS if lease.is_ending else LEASE_MS
        is_valid = self._clock.now_ms() - lease.renewed_ms < valid_ms
        if lease.incarnation != incarnation or (holder != report_id if report_id else is_valid):
            return False
        claim = CLOSING if report_id else ENDING
        self.leases[server_id] = replace(lease, renewed_ms=self._clock.now_ms(), is_ending=claim == ENDING), claim
        return True

    async def remove_lease(self, server_id: str, incarnation: int) -> None:
        """See PresenceStore."""
        self._require_available()
        lease, holder = self.leases.get(server_id, (Lease(0, 0), ""))
        if lease.incarnation == incarnation and holder in CLAIMS:
            del self.leases[server_id]

    async def find_epoch(self) -> int:
        """See PresenceStore."""
        self._require_available()
        return self.epoch_ms

    async def poll(self) -> Leases:
        """See PresenceStore."""
        self._require_available()
        by_server = {server_id: lease for server_id, (lease, _) in self.leases.items()}
        return Leases(self._clock.now_ms(), self.epoch_ms, by_server)

    # What tests write.

    def put(self, user_id: str, *streams: DeviceStream, seen_ms: int = 0) -> PresenceRecord:
        """Store a newer record of a user, and return it."""
        version = self.records.get(user_id, PresenceRecord()).version + 1
        self.records[user_id] = PresenceRecord(streams, seen_ms, version)
        return self.records[user_id]

    def ended(self) -> dict[str, StreamState]:
        """Return the last transition of each session that is no longer open."""
        return {each.session_id: each.state for each in self.applied if not each.state.is_open}


class MemoryTimes:
    """Implements LastSeenStore."""

    def __init__(self) -> None:
        self.seen_ms: dict[str, int] = {}

    async def raise_all(self, seen_ms: Mapping[str, int]) -> None:
        """See LastSeenStore."""
        self.seen_ms |= {user_id: max(ms, self.seen_ms.get(user_id, 0)) for user_id, ms in seen_ms.items()}

    async def find_all(self, user_ids: Collection[str]) -> dict[str, int]:
        """See LastSeenStore."""
        return {user_id: self.seen_ms[user_id] for user_id in user_ids if user_id in self.seen_ms}

    async def delete(self, user_id: str) -> None:
        """See LastSeenStore."""
        self.seen_ms.pop(user_id, None)


class MemorySettings:
    """Implements VisibilityStore."""

    def __init__(self) -> None:
        self.settings: dict[str, Visibility] = {}

    async def find_all(self, user_ids: Collection[str]) -> dict[str, Visibility]:
        """See VisibilityStore."""
        return {user_id: self.settings[user_id] for user_id in user_ids if user_id in self.settings}

    async def update(self, user_id: str, online: Audience | None, last_seen: Audience | None) -> Visibility:
        """See VisibilityStore."""
        before = self.settings.get(user_id, Visibility())
        self.settings[user_id] = Visibility(online or before.online, last_seen or before.last_seen)
        return self.settings[user_id]

    async def delete(self, user_id: str) -> None:
        """See VisibilityStore."""
        self.settings.pop(user_id, None)


@dataclass
class MemoryDirectory:
    """Implements Directory: all are acquainted with each other, but those in `blocked`, each (one, the other).

    It answers while `answers` is set; `asked` has the pairs of each call.
    """

    blocked: set[tuple[str, str]] = field(default_factory=set)
    asked: list[list[Pair]] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False

    async def find_relations(self, pairs: Collection[Pair]) -> dict[Pair, Relation]:
        """See Directory."""
        self.asked.append(sorted(pairs))
        if self.away:
            raise ServiceUnavailable("no chat server answers")
        found = {pair: self._relation(*pair) for pair in pairs}
        # A later question may be answered earlier.
        answers = self.answers
        await answers.wait()
        return found

    def _relation(self, one: str, other: str) -> Relation:
        blocked = bool({(one, other), (other, one)} & self.blocked)
        return STRANGERS if one == other else Relation(acquainted_by=True, blocked=blocked)


class MemoryChannels:
    """Implements Channels; `heard` are the users whose changes are heard."""

    def __init__(self) -> None:
        self.heard: set[str] = set()

    async def subscribe(self, user_ids: Collection[str]) -> None:
        """See Channels."""
        self.heard |= set(user_ids)

    async def retain(self, user_ids: Collection[str]) -> None:
        """See Channels."""
        self.heard &= set(user_ids)

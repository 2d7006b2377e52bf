"""The fault injector: it strikes with every kind of fault in turn, each while a send is in flight."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from random import Random
from typing import Final

from devstack.managed_process import last_lines
from tests.eventually import eventually
from tests.faults.cluster import Cluster, start
from tests.faults.journal import Journal, Struck
from tests.faults.strikes import chat, coordination, database, door, index, media, mesh, notify, objects, presence

Strike = Callable[[Cluster, Random], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: it begins when `strike` is entered and is healed when it is left, `lasts` seconds later.

    A `topic` is a second name that several kinds share.
    """

    name: str
    strike: Strike
    lasts: float = 3.0
    topic: str = ""


KINDS: Final = (
    Kind("chat server killed", chat.one_killed),
    Kind("MongoDB primary stepped down", database.stepped_down, 1.0),
    Kind("Valkey flushed", index.flushed, 0.5),
    Kind("mesh links cut", mesh.links_cut, 0.5),
    Kind("connections of devices cut", door.connections_cut, 0.5),
    Kind("chat server frozen", chat.frozen, 6.0),
    Kind("MongoDB primary killed", database.primary_killed),
    Kind("Valkey failed over with loss", index.failed_over),
    Kind("etcd stopped", coordination.all_stopped, 5.0),
    Kind("two chat servers killed", chat.two_killed),
    Kind("MongoDB primary frozen", database.primary_frozen, 5.0),
    Kind("mesh links dead", mesh.links_dead, 9.0),
    Kind("chat server restarted", chat.restarted, 1.0),
    Kind("all chat servers restarted in turn", chat.all_restarted, 0.0),
    Kind("Valkey killed", index.killed),
    Kind("etcd data lost", coordination.data_lost, 2.0),
    Kind("MongoDB rolled back", database.rolled_back, 2.0),
    Kind("all chat servers killed", chat.all_killed, 1.0),
    Kind("Valkey out of memory", index.out_of_memory),
    Kind("Envoy killed", door.killed, 1.0),
    Kind("MongoDB slow", database.slow, 5.0),
    Kind("mesh links slow", mesh.links_slow, 5.0),
    Kind("Valkey frozen", index.frozen, 4.0),
    Kind("etcd leases expired", coordination.leases_expired, 1.0),
    Kind("Valkey flushed while devices are away", door.index_flushed_while_devices_offline, 2.0),
    Kind("etcd member killed", coordination.member_killed, 2.0),
    Kind("chat server killed while etcd is frozen", coordination.frozen_while_chat_server_dies, 8.0),
)
# Faults of the parts that chat without files does without.
MEDIA_KINDS: Final = (
    Kind("media server killed", media.one_killed, 4.0),
    Kind("media server frozen", media.frozen, 8.0),
    Kind("all media servers killed", media.all_killed, 1.0),
    Kind("picture workers killed", media.picture_workers_killed, 1.0),
    Kind("S3 store killed", objects.killed),
    Kind("S3 store frozen", objects.frozen, 7.0),
)
PRESENCE_KINDS: Final = (
    Kind("presence server killed", presence.one_killed, 5.0),
    Kind("presence server frozen", presence.frozen, 8.0),
    Kind("all presence servers killed", presence.all_killed, 12.0),
    Kind("all presence servers restarted in turn", presence.all_restarted, 0.0),
)
PUSH_KINDS: Final = (
    Kind("notify server killed", notify.one_killed, 5.0, topic="push"),
    Kind("notify server frozen", notify.frozen, 8.0, topic="push"),
    Kind("all notify servers killed", notify.all_killed, 5.0, topic="push"),
    Kind("all notify servers restarted in turn", notify.all_restarted, 0.0, topic="push"),
)
ALL_KINDS: Final = (*KINDS, *MEDIA_KINDS, *PRESENCE_KINDS, *PUSH_KINDS)
AT_LEAST: Final = 3
# After most faults the next one comes soon; after every third things are left in peace long enough to see them well.
SOON_S: Final = (1.0, 4.0)
PEACE_S: Final = 16.0
PEACE_EVERY: Final = 3
IN_FLIGHT_S: Final = 3.0


def find_kinds(*names: str) -> list[Kind]:
    """Return the kinds of these names. Raise KeyError for a name that no kind has."""
    kinds = {kind.name: kind for kind in ALL_KINDS}
    return [kinds[name] for name in names]


class Nemesis:
    """Inject faults and record each in the journal; `log_progress` is called when one begins."""

    def __init__(
        self,
        cluster: Cluster,
        journal: Journal,
        random: Random,
        kinds: Sequence[Kind] = KINDS,
        log_progress: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self._journal = journal
        self._random = random
        self._kinds = kinds
        self._log_progress = log_progress

    async def inject_faults(self, seconds: float, strikes: int = 0) -> None:
        """Strike until the time is up and at least `strikes` times; a fault in progress is always healed."""
        until = time.monotonic() + seconds

        def is_over() -> bool:
            return time.monotonic() > until and len(self._journal.struck) >= strikes

        for number, kind in enumerate(self._endless(), start=1):
            # Nobody acts any more once it is over, so that there is nothing to see in a last time of peace.
            if is_over():
                return
            await asyncio.sleep(PEACE_S if number % PEACE_EVERY == 0 else self._random.uniform(*SOON_S))
            if is_over():
                return
            await self.strike(kind)

    def missing(self) -> dict[str, int]:
        """Return the kinds that struck less than AT_LEAST times with sends in flight, and their counts."""
        counts = Counter(each.name for each in self._journal.struck if each.in_flight)
        return {kind.name: counts[kind.name] for kind in self._kinds if counts[kind.name] < AT_LEAST}

    def _endless(self) -> Iterator[Kind]:
        while True:
            yield from self._random.sample(self._kinds, len(self._kinds))

    async def strike(self, kind: Kind) -> None:
        """Strike once and heal the fault."""
        in_flight, at = await self._some_in_flight(), time.monotonic()
        self._log_progress(f"{kind.name}, {in_flight} sends in flight")
        async with kind.strike(self._cluster, self._random):
            await asyncio.sleep(kind.lasts)
        await self._check_all_running(kind)
        self._journal.struck.append(Struck(kind.name, at, time.monotonic(), in_flight))

    async def _check_all_running(self, kind: Kind) -> None:
        """Record a complaint for each part that ended by itself."""
        for part in self._cluster.parts:
            if not part.running:
                self._cluster.complaints.append(f"{part.name} ended by itself when {kind.name}: {last_lines(part.log)}")
                await asyncio.to_thread(start, [part])

    async def _some_in_flight(self) -> int:
        """Wait for a send in flight and return the number of them; 0 if no device sends."""
        with suppress(AssertionError):
            await eventually(lambda: self._journal.unanswered, IN_FLIGHT_S)
        return len(self._journal.unanswered)

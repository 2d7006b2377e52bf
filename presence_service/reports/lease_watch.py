"""The poll of the leases: it ends the streams of chat servers that died, and notices when presence was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final

import structlog
from prometheus_client import Counter

from presence_service.model.leases import NO_LEASES, Leases
from presence_service.model.ports import PresenceStore
from presence_service.model.presence import StreamState, Transition
from servicekit.clock import Clock
from servicekit.errors import StoreUnavailable
from servicekit.tasks import cancel_requested

POLL_INTERVAL_S: Final = 0.5
# Streams of a dead server that are ended in one round trip.
END_BATCH: Final = 500

_epochs = Counter("parley_presence_epochs", "Times at which presence was lost or interrupted")
_ended = Counter("parley_presence_servers_ended", "Chat servers whose lease ended")

log = structlog.get_logger("leases")


class LeaseWatch:
    """Polls the leases of all chat servers.

    `on_epoch` is called once presence was lost or interrupted, and `on_offline` with the users whose streams it ended.
    """

    def __init__(
        self,
        store: PresenceStore,
        on_leases: Callable[[Leases], None],
        on_epoch: Callable[[], None],
        on_offline: Callable[[Iterable[str]], None],
        clock: Clock,
    ) -> None:
        self._store = store
        self._on_leases = on_leases
        self._on_epoch = on_epoch
        self._on_offline = on_offline
        self._clock = clock
        self._leases = NO_LEASES
        self._available = True

    async def run(self) -> None:
        """Poll until cancelled."""
        async with asyncio.TaskGroup() as group:
            ending = dict[tuple[str, int], asyncio.Task[None]]()
            while not cancel_requested():
                await self._poll()
                ending = {server: task for server, task in ending.items() if not task.done()}
                for server in self._leases.to_end if self._available else ():
                    if server not in ending:
                        ending[server] = group.create_task(self._end_server(*server))
                await self._clock.sleep(POLL_INTERVAL_S)

    async def _poll(self) -> None:
        try:
            leases = await self._store.poll()
        except StoreUnavailable as failure:
            if self._available:
                log.warning("lease poll failed, retrying", error=failure.message)
            self._available = False
            return
        self._available = True
        before, self._leases = self._leases, leases
        self._on_leases(leases)
        if before is not NO_LEASES and before.epoch_ms != leases.epoch_ms:
            _epochs.inc()
            log.warning("presence was lost or interrupted; chat servers report all devices again")
            self._on_epoch()

    async def _end_server(self, server_id: str, incarnation: int) -> None:
        """End the streams of a server whose lease has ended, unless another replica does."""
        try:
            number = self._leases.by_server[server_id].number
            age_ms = max(0, round(self._leases.now_ms - self._leases.end_of(server_id, incarnation)))
            if not await self._store.claim_end(server_id, incarnation):
                return
            ended = await end_streams(self._store, server_id, incarnation, number, StreamState.SILENT, age_ms)
            self._on_offline(ended)
            await self._store.remove_lease(server_id, incarnation)
            _ended.inc()
            log.warning("chat server lease expired; its devices are offline", server_id=server_id)
        except StoreUnavailable as failure:
            log.warning("cleanup of an expired lease failed, retrying", server_id=server_id, error=failure.message)


async def end_streams(
    store: PresenceStore, server_id: str, incarnation: int, number: int, state: StreamState, age_ms: int = 0
) -> Collection[str]:
    """End all streams that an incarnation has reported up to the lease with this number; return their users.

    Raise StoreUnavailable.
    """
    sessions = await store.find_sessions(server_id, incarnation)
    transitions = [Transition(user_id, session_id, state, age_ms) for session_id, user_id in sessions.items()]
    for start in range(0, len(transitions), END_BATCH):
        await store.apply(server_id, incarnation, number, transitions[start : start + END_BATCH])
    return sessions.values()

"""The leases of chat servers: a device counts while the lease of its chat server is valid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# A chat server reports at this interval, and its devices are offline this long after its last frame.
RENEW_INTERVAL_S: Final = 2.0
LEASE_MS: Final = 10_000
# A presence server that ends the streams of a dead chat server has this long before another one does it.
CLAIM_MS: Final = 10_000
# For this long after an epoch starts, a missing record or lease is treated as unknown: within it, the chat servers
# begin to report all their devices again. Records stay unknown while a chat server has not reported all, up to
# MAX_RESTORE_MS after the start of the epoch.
RESTORE_MS: Final = 5_000
MAX_RESTORE_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of an incarnation of a chat server, last renewed at `renewed_ms`.

    Each new lease has a higher `number`. If it `is_ending`, a presence server claimed at `renewed_ms` to end the
    streams of that incarnation, which is dead. It `is_complete` once its chat server has reported all devices under it.
    """

    incarnation: int
    renewed_ms: int
    number: int = 0
    is_ending: bool = False
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Leases:
    """All leases at a moment, by server id. `epoch_ms` is when presence was last lost or interrupted."""

    now_ms: int = 0
    epoch_ms: int = 0
    by_server: Mapping[str, Lease] = field(default_factory=dict)

    def end_of(self, server_id: str, incarnation: int) -> float:
        """Return when the lease of an incarnation ends; minus infinity if it has none for certain."""
        lease = self.by_server.get(server_id)
        restored_ms = self.epoch_ms + RESTORE_MS
        if lease is None or lease.incarnation != incarnation:
            # Its server may not have reported again yet.
            return restored_ms if lease is None and self.now_ms < restored_ms else -math.inf
        if lease.is_ending:
            return min(lease.renewed_ms, self.now_ms)
        return max(lease.renewed_ms + LEASE_MS, restored_ms)

    @property
    def is_restoring(self) -> bool:
        """True if chat servers may not have reported all their devices again."""
        if self.now_ms < self.epoch_ms + RESTORE_MS:
            return True
        return self.now_ms < self.epoch_ms + MAX_RESTORE_MS and any(
            not (lease.is_complete or lease.is_ending) and lease.renewed_ms + LEASE_MS > self.now_ms
            for lease in self.by_server.values()
        )

    @property
    def alive(self) -> frozenset[tuple[str, int]]:
        """The server ids and incarnations whose lease has not ended."""
        return frozenset(
            (server_id, lease.incarnation)
            for server_id, lease in self.by_server.items()
            if self.end_of(server_id, lease.incarnation) > self.now_ms
        )

    @property
    def to_end(self) -> list[tuple[str, int]]:
        """The server ids and incarnations whose streams are to be ended, because their lease has ended."""
        return [
            (server_id, lease.incarnation)
            for server_id, lease in self.by_server.items()
            if self.end_of(server_id, lease.incarnation) <= self.now_ms
            and not (lease.is_ending and self.now_ms < lease.renewed_ms + CLAIM_MS)
        ]


NO_LEASES: Final = Leases()

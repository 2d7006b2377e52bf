"""The return of the devices of a server that died, at the limits of the servers that take them.

Time is simulated: devices wait by the SDK's own backoff, chat servers admit them by the limits of their handshakes, and
Envoys by their token bucket.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chat_service.stream.limiters import HANDSHAKE_RETRY_RANGE_S, SLOT_TIMEOUT_S, WAITING_PER_SLOT
from parley_client.backoff import Backoff

SEED: Final = 17
"""The seed of all delays: a simulation has the same result each time."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An attempt that failed at `time`; the device waits `retry_after` seconds besides its own backoff."""

    time: float
    retry_after: float


class Gate(Protocol):
    """A server that devices connect to. Attempts come in the order of their times."""

    def admit(self, now: float) -> float | Refusal:
        """Return the time at which a device that comes now is served, or its refusal."""


class HandshakeGate:
    """A chat server that serves `rate` handshakes per second, `slots` at once, with a bounded queue."""

    def __init__(self, rate: float, slots: int, randomness: random.Random) -> None:
        self._duration = 1 / rate
        self._slots = slots
        self._random = randomness
        # The times at which the handshakes end, in progress, waiting or over, and those at which waiting ones give up.
        self._ends: list[float] = []
        self._timeouts: list[float] = []

    def admit(self, now: float) -> float | Refusal:
        """Serve in the order of arrival. Refuse if too many wait, or after the time that one may wait for a slot."""
        ahead = len(self._ends) - bisect_right(self._ends, now)
        in_vain = len(self._timeouts) - bisect_right(self._timeouts, now)
        if max(0, ahead - self._slots) + in_vain >= self._slots * WAITING_PER_SLOT:
            return Refusal(now, self._random.uniform(*HANDSHAKE_RETRY_RANGE_S))
        if ahead >= self._slots and self._ends[-self._slots] > now + SLOT_TIMEOUT_S:
            self._timeouts.append(now + SLOT_TIMEOUT_S)
            return Refusal(now + SLOT_TIMEOUT_S, self._random.uniform(*HANDSHAKE_RETRY_RANGE_S))
        self._ends.append(max(now, self._ends[-1] if self._ends else 0.0) + self._duration)
        return self._ends[-1]


class BucketGate:
    """An Envoy that accepts a burst of connections, and then as many per second as its token bucket is filled."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = self._tokens = burst
        self._rate = rate
        self._filled_at = 0.0

    def admit(self, now: float) -> float | Refusal:
        """Accept at once, or close the connection."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return Refusal(now, 0.0)
        self._tokens -= 1
        return now


@dataclass(frozen=True, slots=True)
class Storm:
    """The return of devices: the seconds after which each is served, in order, and the attempts of all."""

    times: Sequence[float]
    attempts: int

    def quantile(self, share: float) -> float:
        """Return the seconds after which `share` of the devices are served."""
        return self.times[min(len(self.times) - 1, int(share * len(self.times)))]


def simulate_return(gate_of: Sequence[Hashable], create_gate: Callable[[], Gate]) -> Storm:
    """Return the storm of devices that all lose their stream at 0; `gate_of` names the server of each device."""
    randomness = random.Random(SEED)
    gates: Mapping[Hashable, Gate] = {name: create_gate() for name in dict.fromkeys(gate_of)}
    backoffs = [Backoff(jitter=randomness.random) for _ in gate_of]
    waiting = [(backoff.next(), device) for device, backoff in enumerate(backoffs)]
    heapq.heapify(waiting)
    served, attempts = [], 0
    while waiting:
        now, device = heapq.heappop(waiting)
        attempts += 1
        outcome = gates[gate_of[device]].admit(now)
        if isinstance(outcome, Refusal):
            delay = backoffs[device].next(outcome.retry_after)
            heapq.heappush(waiting, (outcome.time + delay, device))
        else:
            served.append(outcome)
    return Storm(sorted(served), attempts)

"""The circuit breakers of the hosts: while a host does not answer, requests to it fail at once, except for probes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from cachetools import LRUCache

from notify_service.providers.connections import ClientBusy, ConnectionLost, ProviderUnreachable
from servicekit.clock import Clock

# Requests that got no answer, with no answer between.
UNREACHABLE_IN_A_ROW: Final = 10
# No request is sent to the host for this time, then one at a time until there is an answer.
PAUSE_S: Final = 5.0
# Hosts of Web Push come from users. Those used longest ago are forgotten.
MAX_HOSTS: Final = 1000

log = structlog.get_logger("notify.providers")


@dataclass(slots=True)
class _Circuit:
    """The requests to a host since its last answer: how many failed, and the pause that follows."""

    failures: int = 0
    paused_until: float = 0.0
    probing: bool = False

    @property
    def is_open(self) -> bool:
        return self.failures >= UNREACHABLE_IN_A_ROW


class CircuitBreakers:
    """The circuit breakers of all hosts, each of which opens after UNREACHABLE_IN_A_ROW.

    A request to a silent host holds its slot until it times out, and many of them delay the pushes to other hosts. The
    hosts of a provider are apart: a user may have subscriptions at a host that does not exist.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._circuits: LRUCache[str, _Circuit] = LRUCache(MAX_HOSTS)

    def check(self, host: str) -> None:
        """Raise ProviderUnreachable if a request to the host would fail at once."""
        circuit = self._circuits.get(host)
        if circuit is None or not circuit.is_open:
            return
        if circuit.probing or self._clock.monotonic() < circuit.paused_until:
            raise ProviderUnreachable("the provider does not answer")

    @contextmanager
    def request(self, host: str) -> Iterator[None]:
        """Watch a request to the host. Raise ProviderUnreachable if the host is paused."""
        self.check(host)
        circuit: _Circuit = self._circuits.setdefault(host, _Circuit())
        is_probe = circuit.is_open
        circuit.probing |= is_probe
        try:
            yield
            self._note_answer(host, circuit)
        except (ConnectionLost, ClientBusy):
            # All requests on a connection that the provider closes are lost at once, which holds no slot.
            raise
        except ProviderUnreachable:
            self._note_unreachable(host, circuit, is_probe=is_probe)
            raise
        finally:
            if is_probe:
                circuit.probing = False

    def _note_answer(self, host: str, circuit: _Circuit) -> None:
        if circuit.is_open:
            log.info("provider answers again", host=host)
        circuit.failures = 0

    def _note_unreachable(self, host: str, circuit: _Circuit, *, is_probe: bool) -> None:
        circuit.failures += 1
        if circuit.failures == UNREACHABLE_IN_A_ROW:
            log.warning("provider paused: it does not answer", host=host)
        elif not is_probe:
            return
        circuit.paused_until = self._clock.monotonic() + PAUSE_S

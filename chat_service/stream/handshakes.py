"""How many devices connect at once: a server that all devices of another come to serves those it has first."""

from __future__ import annotations

import random
from typing import Final

from prometheus_client import Counter, Gauge

from chat_service.errors import ServerBusy

# Those who are sent away come again at moments of their own.
AGAIN_S: Final = (0.2, 1.2)

_under_way = Gauge("parley_handshakes", "Devices that connect just now")
_refused = Counter("parley_handshakes_refused", "Devices that were asked to come again because too many connected")


class Handshake:
    """A device that connects; under way until it has been told what changed, or is gone."""

    def __init__(self, handshakes: Handshakes) -> None:
        self._handshakes = handshakes
        self._over = False

    def end(self) -> None:
        """It is over; again changes nothing."""
        if not self._over:
            self._over = True
            self._handshakes.under_way -= 1
            _under_way.dec()


class Handshakes:
    """At most `at_once` are under way."""

    def __init__(self, at_once: int) -> None:
        self.under_way = 0
        self._at_once = at_once

    def begin(self) -> Handshake:
        """Let a device begin. Raises ServerBusy."""
        if self.under_way >= self._at_once:
            _refused.inc()
            # Not for cryptography: the moments shall only differ.
            raise ServerBusy("too many devices connect at the moment", retry_after=random.uniform(*AGAIN_S))  # noqa: S311
        self.under_way += 1
        _under_way.inc()
        return Handshake(self)

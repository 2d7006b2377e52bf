"""The deliveries that an owner sent to homes lately, which are offered again if they may be lost for pushes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from chat_service.model.delivery import Delivery
from servicekit.clock import Clock

# Longer than it takes to notice that a server has died, or that Redis has lost data, and than a home holds a delivery.
KEPT_S: Final = 30.0
MAX_KEPT: Final = 50_000


class SentDelivery(NamedTuple):
    """A delivery, the monotonic time at which it was sent first, and the users of each home that it was sent to."""

    sent_at: float
    homes: dict[str, Sequence[str]]
    delivery: Delivery


class RecentDeliveries:
    """The deliveries of the last KEPT_S seconds, at most MAX_KEPT, and what homes may have lost of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent: deque[SentDelivery] = deque(maxlen=MAX_KEPT)
        self._unsent: deque[SentDelivery] = deque(maxlen=MAX_KEPT)
        self._lost: set[str] = set()

    def add(self, homes: Mapping[str, Sequence[str]], delivery: Delivery, sent_at: float | None = None) -> None:
        """Keep a delivery with entries, which was sent to the users of `homes`; `sent_at` if it was sent before."""
        self._drop_old()
        self._sent.append(SentDelivery(self._first_sent_at(sent_at), dict(homes), delivery))

    def add_unsent(self, home: str, users: Sequence[str], delivery: Delivery, sent_at: float | None = None) -> None:
        """Keep a delivery that could not be sent to a home."""
        self._unsent.append(SentDelivery(self._first_sent_at(sent_at), {home: users}, delivery))

    def mark_lost(self, home: str) -> None:
        """Note that a home may have lost what was sent to it: its stream has ended."""
        self._lost.add(home)

    def mark_all_lost(self) -> None:
        """Note that all homes may have lost what they had queued: Redis has lost data."""
        for sent in self._sent:
            self._lost |= sent.homes.keys()

    def take_lost(self, is_reachable: Callable[[str], bool]) -> list[tuple[Sequence[str], SentDelivery]]:
        """Return users and deliveries of what homes may have lost, if `is_reachable` is true of the home; forget it."""
        self._drop_old()
        homes = {home for home in self._lost if is_reachable(home)}
        self._lost -= homes
        lost = list[tuple[Sequence[str], SentDelivery]]()
        for sent in self._sent if homes else ():
            taken = [sent.homes.pop(home) for home in homes & sent.homes.keys()]
            if taken:
                lost.append(([user for users in taken for user in users], sent))
        unsent, self._unsent = self._unsent, deque(maxlen=MAX_KEPT)
        for each in unsent:
            [(home, users)] = each.homes.items()
            if is_reachable(home):
                lost.append((users, each))
            else:
                self._unsent.append(each)
        return lost

    def _first_sent_at(self, sent_at: float | None) -> float:
        return self._clock.monotonic() if sent_at is None else sent_at

    def _drop_old(self) -> None:
        oldest = self._clock.monotonic() - KEPT_S
        for kept in (self._sent, self._unsent):
            while kept and kept[0].sent_at < oldest:
                kept.popleft()

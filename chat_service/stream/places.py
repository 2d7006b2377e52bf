"""The places of sends in a lane, and which of them may pass."""

from __future__ import annotations

from bisect import bisect_left, insort

Key = tuple[str, bytes]
"""A send: its conversation and its id."""


class Decided:
    """The sends of a session that were decided of late; a device may have sent them again before it heard so."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: dict[Key, None] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def add(self, key: Key) -> None:
        """It is decided."""
        self._keys.pop(key, None)
        self._keys[key] = None
        if len(self._keys) > self._most:
            del self._keys[next(iter(self._keys))]


class Places:
    """A send has the place at which it came first, until it is decided: however often it comes again meanwhile.

    A gate is closed at the place of a send that was refused for now, whatever for, until that comes again: what has a
    later place does not pass, and what has an earlier one does. While a gate is closed at most `most` places are kept;
    what comes beyond that gets its place when it comes again.
    """

    def __init__(self, most: int, decided: Decided) -> None:
        self._most = most
        self._next = 0
        self._places: dict[Key, int] = {}
        # In order.
        self._gates: list[int] = []
        # Whether some could not be kept since the first gate was closed.
        self._overflown = False
        # The device waits for no place of theirs. Of the session: it outlives the lane.
        self._decided = decided

    @property
    def gated(self) -> bool:
        """Whether any gate is closed."""
        return bool(self._gates)

    def of(self, key: Key) -> int:
        """The place of a send, a new one if it is new."""
        place = self._places.get(key)
        if place is not None:
            return place
        place = self._next
        self._next += 1
        if self._gates and len(self._places) >= self._most:
            # So that none that comes now is before those that could not be kept.
            self._overflown = True
        if not self._overflown and key not in self._decided:
            self._places[key] = place
        return place

    def barred(self, place: int) -> bool:
        """Whether a gate before it is closed."""
        return bool(self._gates) and self._gates[0] < place

    def close(self, key: Key) -> bool:
        """Let nothing later pass until this one is here again; False for one that is decided and does not come."""
        place = self._places.get(key)
        if place is None:
            return False
        if not self._closed_at(place):
            insort(self._gates, place)
        return True

    def open(self, key: Key) -> None:
        """It is here again."""
        place = self._places.get(key)
        if place is not None and self._closed_at(place):
            del self._gates[bisect_left(self._gates, place)]
            # When the last that was kept is here, those that were not come next, in order.
            self._overflown = self._overflown and self.gated

    def free(self, key: Key) -> None:
        """It is decided."""
        self.open(key)
        self._places.pop(key, None)
        self._decided.add(key)

    def forget(self) -> None:
        """Nothing is on its way: who comes next comes first."""
        self._places.clear()

    def _closed_at(self, place: int) -> bool:
        at = bisect_left(self._gates, place)
        return at < len(self._gates) and self._gates[at] == place

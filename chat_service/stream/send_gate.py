"""The places of sends in a lane, and which of them may pass."""

from __future__ import annotations

from bisect import bisect_left, insort

Key = tuple[str, bytes]
"""A send: its conversation and its id."""


class RecentlyAnswered:
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


class SendGate:
    """A send has the place at which it came first, until it is decided: however often it comes again meanwhile.

    A gate is closed at the place of a send that was refused for now, whatever for, until that comes again: what has a
    later place does not pass, and what has an earlier one does. While a gate is closed at most `most` places are kept;
    what comes beyond that gets its place when it comes again.
    """

    def __init__(self, most: int, decided: RecentlyAnswered) -> None:
        self._max_slots = most
        self._next = 0
        self._slots: dict[Key, int] = {}
        # In order.
        self._closed_slots: list[int] = []
        # Whether some could not be kept since the first gate was closed.
        self._overflowed = False
        # The device waits for no place of theirs. Of the session: it outlives the lane.
        self._recently_answered = decided

    @property
    def closed(self) -> bool:
        """Whether any gate is closed."""
        return bool(self._closed_slots)

    def slot_of(self, key: Key) -> int:
        """The place of a send, a new one if it is new."""
        place = self._slots.get(key)
        if place is not None:
            return place
        place = self._next
        self._next += 1
        if self._closed_slots and len(self._slots) >= self._max_slots:
            # So that none that comes now is before those that could not be kept.
            self._overflowed = True
        if not self._overflowed and key not in self._recently_answered:
            self._slots[key] = place
        return place

    def is_gated(self, place: int) -> bool:
        """Whether a gate before it is closed."""
        return bool(self._closed_slots) and self._closed_slots[0] < place

    def close_at(self, key: Key) -> bool:
        """Let nothing later pass until this one is here again; False for one that is decided and does not come."""
        place = self._slots.get(key)
        if place is None:
            return False
        if not self._is_closed_at(place):
            insort(self._closed_slots, place)
        return True

    def open_at(self, key: Key) -> None:
        """It is here again."""
        place = self._slots.get(key)
        if place is not None and self._is_closed_at(place):
            del self._closed_slots[bisect_left(self._closed_slots, place)]
            # When the last that was kept is here, those that were not come next, in order.
            self._overflowed = self._overflowed and self.closed

    def release(self, key: Key) -> None:
        """It is decided."""
        self.open_at(key)
        self._slots.pop(key, None)
        self._recently_answered.add(key)

    def clear(self) -> None:
        """Nothing is on its way: who comes next comes first."""
        self._slots.clear()

    def _is_closed_at(self, place: int) -> bool:
        at = bisect_left(self._closed_slots, place)
        return at < len(self._closed_slots) and self._closed_slots[at] == place

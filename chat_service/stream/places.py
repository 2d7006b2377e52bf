"""The places of sends in a lane, and which of them may pass."""

from __future__ import annotations

from bisect import insort


class Places:
    """A send has the place at which it came first, until it is decided: however often it comes again meanwhile.

    A gate is closed at the place of a send that was refused for now, until that comes again: what has a later place
    does not pass, and what has an earlier one does. While a gate is closed at most `most` places are kept; what comes
    beyond that gets its place when it comes again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._next = 0
        self._places: dict[bytes, int] = {}
        # In order.
        self._gates: list[int] = []
        self._overflown = False
        # Of late; a device may have sent them twice before it heard so.
        self._appended: dict[bytes, None] = {}

    @property
    def gated(self) -> bool:
        """Whether any gate is closed."""
        return bool(self._gates)

    def of(self, request_id: bytes) -> int:
        """The place of a send, a new one if it is new."""
        place = self._places.get(request_id)
        if place is not None:
            return place
        place = self._next
        self._next += 1
        if self._gates and len(self._places) >= self._most:
            # So that none that comes now is before those that could not be kept.
            self._overflown = True
        if not self._overflown and request_id not in self._appended:
            self._places[request_id] = place
        return place

    def barred(self, place: int) -> bool:
        """Whether a gate before it is closed."""
        return bool(self._gates) and self._gates[0] < place

    def close(self, request_id: bytes) -> bool:
        """Let nothing later pass until this one is here again; False for one that is decided and does not come."""
        place = self._places.get(request_id)
        if place is None:
            return False
        if place not in self._gates:
            insort(self._gates, place)
        return True

    def open(self, request_id: bytes) -> None:
        """It is here again."""
        place = self._places.get(request_id)
        if place in self._gates:
            # From the first one on, all come in order.
            self._overflown = self._overflown and place != self._gates[0]
            self._gates.remove(place)

    def free(self, request_id: bytes, *, appended: bool) -> None:
        """It is decided."""
        self.open(request_id)
        self._places.pop(request_id, None)
        if appended:
            self._appended[request_id] = None
            if len(self._appended) > self._most:
                del self._appended[next(iter(self._appended))]

    def forget(self) -> None:
        """Nothing is on its way: who comes next comes first."""
        self._places.clear()

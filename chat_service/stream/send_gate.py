"""The send gate of a lane: the slots of its sends, and the refused sends that hold back those in later slots."""

from __future__ import annotations

from bisect import bisect_left, insort

SendKey = tuple[str, bytes]
"""The identity of a send: its conversation id and its request id."""


class RecentlyAnswered:
    """The last `max_keys` sends of a session that were answered for good.

    A device may have retried such a send before it received the answer.
    """

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._keys: dict[SendKey, None] = {}

    def __contains__(self, key: SendKey) -> bool:
        return key in self._keys

    def add(self, key: SendKey) -> None:
        """Add a send as the newest, and drop the oldest one beyond `max_keys`."""
        self._keys.pop(key, None)
        self._keys[key] = None
        if len(self._keys) > self._max_keys:
            del self._keys[next(iter(self._keys))]


class SendGate:
    """The slots of a lane's sends, in the order of their first arrival, and the slots at which the lane is closed.

    A send keeps its slot until its final answer, however often the device retries it. A temporary refusal of a send
    closes the gate at its slot until the device retries the send: sends in later slots do not pass, and sends in
    earlier slots do. While the gate is closed at most `max_slots` slots are kept. A send beyond them gets its
    slot when the device retries it.
    """

    def __init__(self, max_slots: int, recently_answered: RecentlyAnswered) -> None:
        self._max_slots = max_slots
        self._next_slot = 0
        self._slots: dict[SendKey, int] = {}
        # In ascending order.
        self._closed_slots: list[int] = []
        # True if a send got no slot since the gate was closed.
        self._slots_lost = False
        # A retried send that was answered needs no slot: the device does not retry it again. The set belongs to the
        # session, so that it outlives the lane.
        self._recently_answered = recently_answered

    @property
    def closed(self) -> bool:
        """True if the gate is closed at any slot."""
        return bool(self._closed_slots)

    def slot_of(self, key: SendKey) -> int:
        """Return the slot of a send, and assign the next one to a new send."""
        slot = self._slots.get(key)
        if slot is not None:
            return slot
        slot = self._next_slot
        self._next_slot += 1
        if self._closed_slots and len(self._slots) >= self._max_slots:
            # From now on no send is given a slot to keep: it would precede those that got none.
            self._slots_lost = True
        if not self._slots_lost and key not in self._recently_answered:
            self._slots[key] = slot
        return slot

    def is_gated(self, slot: int) -> bool:
        """Return True if the gate is closed at an earlier slot."""
        return bool(self._closed_slots) and self._closed_slots[0] < slot

    def close_at(self, key: SendKey) -> bool:
        """Hold back all later slots until the send is retried; return False if the send has no slot."""
        slot = self._slots.get(key)
        if slot is None:
            return False
        if not self._is_closed_at(slot):
            insort(self._closed_slots, slot)
        return True

    def open_at(self, key: SendKey) -> None:
        """Open the gate at the slot of a send that was retried."""
        slot = self._slots.get(key)
        if slot is not None and self._is_closed_at(slot):
            del self._closed_slots[bisect_left(self._closed_slots, slot)]
            # Once the last send with a slot is retried, the device retries those without one, in order.
            self._slots_lost = self._slots_lost and self.closed

    def release(self, key: SendKey) -> None:
        """Release the slot of a send that has its final answer."""
        self.open_at(key)
        self._slots.pop(key, None)
        self._recently_answered.add(key)

    def drop(self, key: SendKey) -> None:
        """Release the slot of a send that was refused for now without closing the gate; a retry gets a new slot."""
        self.open_at(key)
        self._slots.pop(key, None)

    def clear(self) -> None:
        """Release all slots, when the lane has no unanswered sends."""
        self._slots.clear()

    def _is_closed_at(self, slot: int) -> bool:
        index = bisect_left(self._closed_slots, slot)
        return index < len(self._closed_slots) and self._closed_slots[index] == slot

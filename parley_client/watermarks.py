"""How far every member has got, as far as this device knows. Pure; nothing here ever falls."""

from __future__ import annotations

from parley_client.events import WatermarkMoved


class Watermarks:
    """(delivered, read) per conversation and user."""

    def __init__(self) -> None:
        self._marks: dict[str, dict[str, tuple[int, int]]] = {}

    def of(self, conversation: str, user: str) -> tuple[int, int]:
        """(delivered_seq, read_seq) of a member; (0, 0) if nothing is known."""
        return self._marks.get(conversation, {}).get(user, (0, 0))

    def raise_to(self, conversation: str, user: str, delivered: int, read: int) -> WatermarkMoved | None:
        """A member has got so far; what moved, or None if that was known. Reading means having received."""
        old_delivered, old_read = self.of(conversation, user)
        new = (max(old_delivered, delivered, read), max(old_read, read))
        if new == (old_delivered, old_read):
            return None
        self._marks.setdefault(conversation, {})[user] = new
        return WatermarkMoved(conversation, user, *new)

    def forget(self, conversation: str) -> None:
        """The conversation is not the user's to see any more."""
        self._marks.pop(conversation, None)

"""When the others are to be told that the user types: at most every 3 s while it goes on. Pure: time is an argument."""

from __future__ import annotations

# In seconds: between two notices, and how long others believe one.
EVERY = 3.0
LASTS = 6.0


class Keystrokes:
    """What was told of the user's own typing, per conversation."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def typed(self, conversation: str, now: float) -> bool:
        """The user typed; whether the others are to be told."""
        told = self._told.get(conversation)
        if told is not None and now - told < EVERY:
            return False
        self._told[conversation] = now
        return True

    def stopped(self, conversation: str, now: float) -> bool:
        """The user stopped; whether the others still believe otherwise."""
        told = self._told.pop(conversation, None)
        return told is not None and now - told < LASTS

    def sent(self, conversation: str) -> None:
        """A message went out, which says as much as that the typing is over."""
        self._told.pop(conversation, None)

"""When the others are to be told that the user types: at most every 3 s while it goes on. Pure: time is an argument."""

from __future__ import annotations

from parley_client.events import TypingChanged

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


class Typists:
    """The others who type, and since when nothing was heard of it."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}

    def heard(self, conversation: str, user: str, typing: bool, now: float) -> TypingChanged | None:
        """A notice came; None if it is no news."""
        if not typing:
            return self.stopped(conversation, user)
        known = (conversation, user) in self._until
        self._until[conversation, user] = now + LASTS
        return None if known else TypingChanged(conversation, user, True)

    def stopped(self, conversation: str, user: str) -> TypingChanged | None:
        """They stopped, or what they typed has come; None if they were not known to type."""
        if self._until.pop((conversation, user), None) is None:
            return None
        return TypingChanged(conversation, user, False)

    def expired(self, now: float) -> list[TypingChanged]:
        """Those of whom nothing was heard for 6 s: they type no more."""
        over = [each for each, until in self._until.items() if until <= now]
        for each in over:
            del self._until[each]
        return [TypingChanged(conversation, user, False) for conversation, user in over]

"""Who types, as far as this device knows: told once when it begins and once when it ends. Pure: time is an argument."""

from __future__ import annotations

from parley_client.events import TypingChanged
from parley_client.keystrokes import LASTS


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

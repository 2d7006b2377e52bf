"""Typing indicators: the notices that a device sends, and those it receives. Pure: time is an argument."""

from __future__ import annotations

from parley_client.events import TypingChanged

# Seconds between two notices, and seconds for which a received notice is valid.
NOTICE_INTERVAL_S = 3.0
NOTICE_LIFETIME_S = 6.0


class TypingNotifier:
    """The rate limit of the user's own typing notices, by conversation: at most one in 3 s."""

    def __init__(self) -> None:
        self._notice_times: dict[str, float] = {}

    def start_typing(self, conversation: str, now: float) -> bool:
        """Note a keystroke; return True if a notice is to be sent."""
        notice_time = self._notice_times.get(conversation)
        if notice_time is not None and now - notice_time < NOTICE_INTERVAL_S:
            return False
        self._notice_times[conversation] = now
        return True

    def stop_typing(self, conversation: str, now: float) -> bool:
        """Note that the user stopped; return True if the last notice is still valid and must be revoked."""
        notice_time = self._notice_times.pop(conversation, None)
        return notice_time is not None and now - notice_time < NOTICE_LIFETIME_S

    def message_sent(self, conversation: str) -> None:
        """Note a sent message, which ends the typing indicator without a notice."""
        self._notice_times.pop(conversation, None)


class TypingTracker:
    """The other members who are typing. Each start and each stop is returned once."""

    def __init__(self) -> None:
        self._expiry_times: dict[tuple[str, str], float] = {}

    def apply_notice(self, conversation: str, user: str, typing: bool, now: float) -> TypingChanged | None:
        """Apply a received notice; return the change, or None if there is none."""
        if not typing:
            return self.stop_typing(conversation, user)
        was_typing = (conversation, user) in self._expiry_times
        self._expiry_times[conversation, user] = now + NOTICE_LIFETIME_S
        return None if was_typing else TypingChanged(conversation, user, True)

    def stop_typing(self, conversation: str, user: str) -> TypingChanged | None:
        """End a member's typing, after a notice or a message, and return the change; None if there is none."""
        if self._expiry_times.pop((conversation, user), None) is None:
            return None
        return TypingChanged(conversation, user, False)

    def expire(self, now: float) -> list[TypingChanged]:
        """End the typing of members without a notice for 6 s, and return the changes."""
        expired = [each for each, expiry in self._expiry_times.items() if expiry <= now]
        for each in expired:
            del self._expiry_times[each]
        return [TypingChanged(conversation, user, False) for conversation, user in expired]

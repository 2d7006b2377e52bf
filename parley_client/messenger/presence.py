"""The presence of the other members of 1-1 conversations, as the server reported it on the present stream."""

from __future__ import annotations

from datetime import datetime

from parley_client.events import PresenceChanged

# The server lets a device watch so many users.
MAX_WATCHED_USERS = 1000


class PeerPresence:
    """The reported presence of the watched users. It is unknown, and shown as nothing, while there is no stream."""

    def __init__(self) -> None:
        self._online: set[str] = set()
        self._last_seen: dict[str, datetime | None] = {}

    def apply(self, event: PresenceChanged, now: datetime) -> None:
        """Apply a report. A user who was online until now was last seen now, if the server does not say when."""
        if event.online:
            self._online.add(event.user_id)
            self._last_seen.pop(event.user_id, None)
            return
        known = self._last_seen.get(event.user_id)
        self._last_seen[event.user_id] = event.last_seen or (now if event.user_id in self._online else known)
        self._online.discard(event.user_id)

    def forget(self) -> None:
        """Forget everything, because changes are no longer reported."""
        self._online.clear()
        self._last_seen.clear()

    def is_online(self, user_id: str) -> bool:
        """Return True if the user is online."""
        return user_id in self._online

    def describe(self, user_id: str, now: datetime) -> str:
        """Return the presence of a user as words; empty if it is unknown. `now` is in the local time zone."""
        if user_id in self._online:
            return "online"
        if user_id not in self._last_seen:
            return ""
        last_seen = self._last_seen[user_id]
        if last_seen is None:
            return "offline"
        local = last_seen.astimezone(now.tzinfo)
        return f"last seen {local:%H:%M}" if local.date() == now.date() else f"last seen {local:%-d %b %H:%M}"

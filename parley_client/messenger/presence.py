"""The presence of the other members of 1-1 conversations, as the server reported it on the present stream."""

from __future__ import annotations

from datetime import datetime

from parley_client.cli.presence_text import describe_presence
from parley_client.events import PresenceChanged
from parley_client.presence_state import PresenceState

# The server lets a device watch so many users.
MAX_WATCHED_USERS = 1000


class PeerPresence:
    """The reported presence of the watched users. It is unknown, and shown as nothing, while there is no stream."""

    def __init__(self) -> None:
        self._reported: dict[str, PresenceChanged] = {}

    def apply(self, event: PresenceChanged) -> None:
        """Apply a report."""
        self._reported[event.user_id] = event

    def forget(self) -> None:
        """Forget everything, because changes are no longer reported."""
        self._reported.clear()

    def state(self, user_id: str) -> PresenceState:
        """Return the state of a user; OFFLINE if it is unknown."""
        reported = self._reported.get(user_id)
        return reported.state if reported is not None else PresenceState.OFFLINE

    def describe(self, user_id: str, now: datetime) -> str:
        """Return the presence of a user as words; empty if it is unknown. `now` is in the local time zone."""
        reported = self._reported.get(user_id)
        return "" if reported is None else describe_presence(reported.state, reported.last_seen, now)

"""The presence of users, and who may see it, as words."""

from __future__ import annotations

from datetime import datetime

from parley_client.presence_state import Audience, PresenceState

AUDIENCES = {
    Audience.EVERYONE: "everyone",
    Audience.ACQUAINTED: "users you have written to",
    Audience.NOBODY: "nobody",
    Audience.UNKNOWN: "users that this version cannot name",
}


def describe_presence(state: PresenceState, last_seen: datetime | None, now: datetime) -> str:
    """Return a presence as words; empty if there is nothing to say. `now` is in the local time zone."""
    if state is PresenceState.ONLINE:
        return "online"
    if state is PresenceState.BACKGROUND:
        return "away"
    if last_seen is None:
        return ""
    local = last_seen.astimezone(now.tzinfo)
    if local.date() == now.date():
        return f"last seen {local:%H:%M}"
    return f"last seen {local:%-d %b %H:%M}" if local.year == now.year else f"last seen {local:%-d %b %Y}"

"""The rules of who may see which part of a user's presence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from presence_service.model.presence import OFFLINE, Presence, PresenceState

Pair = tuple[str, str]
"""A viewer and the user who is viewed."""


class Audience(IntEnum):
    """A set of users who may see something; the numbers are those of the proto."""

    EVERYONE = 1
    ACQUAINTED = 2
    NOBODY = 3


@dataclass(frozen=True, slots=True)
class Visibility:
    """The settings of a user. `last_seen` is never wider in effect than `online`."""

    online: Audience = Audience.ACQUAINTED
    last_seen: Audience = Audience.ACQUAINTED


DEFAULT_VISIBILITY: Final = Visibility()


@dataclass(frozen=True, slots=True)
class Relation:
    """The relation of another user to a viewer: whether that one is acquainted with the viewer, and any block."""

    acquainted_by: bool = False
    blocked: bool = False


STRANGERS: Final = Relation()


class Permission(IntEnum):
    """The part of another user's presence that a viewer may see; each includes the one before it."""

    NOTHING = 0
    ONLINE = 1
    LAST_SEEN = 2


def permission_for(viewer: Visibility, shown: Visibility, relation: Relation) -> Permission:
    """Return what a viewer with settings of his own may see of another user.

    A user who shows a field to nobody does not see it of others.
    """
    if relation.blocked or not _is_shown(viewer.online, shown.online, relation):
        return Permission.NOTHING
    if not _is_shown(viewer.last_seen, shown.last_seen, relation):
        return Permission.ONLINE
    return Permission.LAST_SEEN


def restrict(presence: Presence, permission: Permission) -> Presence:
    """Return the part of a presence that may be seen. A hidden user looks like one who was never online."""
    if permission is Permission.NOTHING:
        return OFFLINE
    if permission is Permission.ONLINE or presence.state is PresenceState.ONLINE:
        return Presence(presence.state)
    return presence


def _is_shown(own: Audience, audience: Audience, relation: Relation) -> bool:
    if Audience.NOBODY in (own, audience):
        return False
    return audience is Audience.EVERYONE or relation.acquainted_by

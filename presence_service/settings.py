"""The settings of a presence server."""

from __future__ import annotations

from servicekit.settings import MongoSettings, RedisSettings, ServiceSettings


class PresenceSettings(ServiceSettings, MongoSettings, RedisSettings):
    """The settings of a presence server."""

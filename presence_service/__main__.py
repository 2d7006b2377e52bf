"""`python -m presence_service`: a presence server on Redis, MongoDB and etcd."""

from __future__ import annotations

from presence_service.services import presence_services
from presence_service.settings import PresenceSettings
from presence_service.storage.last_seen import MongoLastSeenStore
from presence_service.storage.presence_store import RedisPresenceStore
from presence_service.storage.visibility import MongoVisibilityStore
from presence_service.watching.channels import RedisChannels
from presence_service.wire.directory import DirectoryClient
from servicekit.admission import DeviceAdmission
from servicekit.server import run
from servicekit.service import Platform, Service, serve


async def build(platform: Platform[PresenceSettings]) -> Service:
    """Return the services of a presence server and its loops. Raise ConfigurationError, StoreUnavailable."""
    settings = platform.settings
    database = await platform.open_database(settings)
    redis = await platform.open_redis(settings)
    directory = DirectoryClient(platform.open_channel("chat"))
    # The devices of another issuer are not known before they connect to chat.
    admission = DeviceAdmission(directory.is_signed_in, platform.clock) if settings.sign_in_here else None
    return presence_services(
        RedisPresenceStore(redis),
        MongoLastSeenStore(database),
        MongoVisibilityStore(database),
        directory,
        RedisChannels(redis),
        admission.admit if admission is not None else None,
        settings.drain_seconds,
        platform.clock,
    )


async def main() -> None:
    """Run a presence server until SIGTERM or SIGINT, then drain and stop it."""
    await serve("presence", PresenceSettings, build)


if __name__ == "__main__":
    run(main())

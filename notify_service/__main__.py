"""`python -m notify_service`: a notify server on Redis, MongoDB and etcd."""

from __future__ import annotations

from notify_service.provider_setup import open_providers
from notify_service.services import Stores, notify_services
from notify_service.settings import NotifySettings
from notify_service.storage.preferences import MongoPreferencesStore
from notify_service.storage.push_queue import RedisPushQueue
from notify_service.storage.pushed_entries import RedisPushedEntryStore
from notify_service.storage.tokens import MongoTokenStore
from notify_service.storage.traces import RedisTraceStore
from notify_service.wire.directory import DirectoryClient
from servicekit.admission import DeviceAdmission
from servicekit.server import run
from servicekit.service import Platform, Service, serve


async def build(platform: Platform[NotifySettings]) -> Service:
    """Return the services of a notify server and its loops. Raise ConfigurationError, StoreUnavailable."""
    settings, clock = platform.settings, platform.clock
    providers = await open_providers(settings, clock, platform.exit_stack)
    database = await platform.open_database(settings)
    redis = await platform.open_redis(settings)
    tokens = MongoTokenStore(database)
    await tokens.ensure_indexes()
    stores = Stores(
        tokens,
        MongoPreferencesStore(database),
        RedisPushQueue(redis),
        RedisPushedEntryStore(redis),
        RedisTraceStore(redis),
    )
    directory = DirectoryClient(platform.open_channel("chat"))
    # The devices of another issuer are not known before they connect to chat.
    admission = DeviceAdmission(directory.is_signed_in, clock) if settings.sign_in_here else None
    admit = admission.admit if admission is not None else None
    return notify_services(stores, providers, directory, admit, platform.membership.me.server_id, clock)


async def main() -> None:
    """Run a notify server until SIGTERM or SIGINT, then drain and stop it."""
    await serve("notify", NotifySettings, build)


if __name__ == "__main__":
    run(main())

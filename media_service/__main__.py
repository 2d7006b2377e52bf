"""`python -m media_service`: a media server on MongoDB, S3 and etcd."""

from __future__ import annotations

from contextlib import suppress

from media_service.collection.scanner import Scanner
from media_service.processing.worker_pool import WorkerPool
from media_service.services import media_services
from media_service.settings import MediaSettings
from media_service.storage.media_store import MongoMediaStore
from media_service.storage.s3 import S3ObjectStore
from media_service.wire.directory import DirectoryClient
from servicekit.errors import StoreUnavailable
from servicekit.server import run
from servicekit.service import Platform, Service, serve


async def build(platform: Platform[MediaSettings]) -> Service:
    """Return the services of a media server and its loops. Raise ConfigurationError, StoreUnavailable."""
    settings, stack = platform.settings, platform.exit_stack
    store = MongoMediaStore(await platform.open_database(settings))
    await store.ensure_indexes()
    objects = S3ObjectStore(settings, platform.clock)
    stack.push_async_callback(objects.close)
    # Without its store the service answers that, and serves once the store is there.
    with suppress(StoreUnavailable):
        await objects.prepare()
    scanner = None
    if settings.media_scanner_url is not None:
        scanner = Scanner(settings.media_scanner_url, objects)
        stack.push_async_callback(scanner.close)
    workers = WorkerPool(settings.pool_limits)
    directory = DirectoryClient(platform.open_channel("chat"))
    return media_services(settings, store, objects, directory, workers, scanner, platform.clock)


async def main() -> None:
    """Run a media server until SIGTERM or SIGINT, then drain and stop it."""
    await serve("media", MediaSettings, build)


if __name__ == "__main__":
    run(main())

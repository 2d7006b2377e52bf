"""`python -m chat_service`: a chat server on MongoDB, Redis and etcd."""

from __future__ import annotations

import contextlib
from typing import Final

from chat_service.accounts.passwords import PasswordHasherPool
from chat_service.device_eraser import DeviceEraser
from chat_service.push.push_queue import RedisPushQueue
from chat_service.server import ChatServer
from chat_service.services import (
    create_accounts,
    internal_services,
    open_catalog,
    open_personal_data,
    open_reporter,
    public_services,
)
from chat_service.settings import ChatSettings
from chat_service.stores import Stores
from chat_service.stream.admission import Admission
from servicekit.server import run
from servicekit.service import Platform, Service, serve

MESH_MESSAGE_BYTES: Final = 64 * 1024 * 1024


async def build(platform: Platform[ChatSettings]) -> Service:
    """Return the services of a chat server and its loops. Raise ConfigurationError, StoreUnavailable."""
    settings, clock = platform.settings, platform.clock
    database, redis = await platform.open_database(settings), await platform.open_redis(settings)
    stores = Stores(database, redis, platform.membership, clock, search=settings.search)
    passwords = platform.exit_stack.enter_context(contextlib.closing(PasswordHasherPool()))
    # Accounts and streams depend on each other: a sign-out closes a stream, and a stream checks the sign-in.
    personal_data = open_personal_data(platform)
    eraser = DeviceEraser(personal_data.erase_device)
    accounts = create_accounts(settings, stores, passwords, personal_data, eraser, clock, lambda: server)
    reporter = open_reporter(platform)
    push_queue = RedisPushQueue(redis) if settings.notify_service else None
    server = ChatServer(
        platform.membership,
        platform.credential,
        stores,
        Admission(platform.verifier.verify, accounts.admit, clock),
        open_catalog(platform),
        reporter,
        push_queue,
        settings.limits,
        clock,
        settings.retention_policy,
        platform.transport,
    )
    await stores.prepare()
    return Service(
        public=public_services(settings, server, accounts, personal_data, clock),
        internal=internal_services(server, clock),
        internal_message_bytes=MESH_MESSAGE_BYTES,
        admit=accounts.admit,
        components=[server.run, eraser.run, *(part.run for part in (reporter, push_queue) if part is not None)],
        jobs=[accounts.deletion.run],
        drain=server.drain,
    )


async def main() -> None:
    """Run a chat server until SIGTERM or SIGINT, then drain and stop it."""
    await serve("chat", ChatSettings, build)


if __name__ == "__main__":
    run(main())

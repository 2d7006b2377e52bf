"""`python -m chat_service`: a chat server on real stores; the only place that chooses implementations."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

import grpc
import structlog
from redis.asyncio import Redis

from chat_service import not_served
from chat_service.accounts.accounts import Accounts, AccountSettings
from chat_service.accounts.attempts import Allowance
from chat_service.accounts.passwords import Passwords
from chat_service.errors import StoreUnavailable
from chat_service.mesh.servicer import MeshServicer
from chat_service.server import ChatServer
from chat_service.servicers import account, chat, conversation
from chat_service.settings import ChatSettings
from chat_service.storage.accounts import MongoAccounts
from chat_service.storage.devices import MongoDevices
from chat_service.storage.mongo import Database, connect
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from parley.internal.v1 import mesh_pb2
from servicekit import telemetry
from servicekit.auth import ServiceCredential, TokenSigner, TokenVerifier
from servicekit.clock import Clock, SystemClock
from servicekit.config import ConfigurationError
from servicekit.etcd import Etcd
from servicekit.failure import Failure
from servicekit.membership import Membership
from servicekit.ring import Member
from servicekit.rpc import service_handler
from servicekit.server import Server, run, until_stopped

MESH_MESSAGE_BYTES: Final = 64 * 1024 * 1024
# Streams, and handshakes that come at once after a failure.
PUBLIC_OPTIONS: Final = [("grpc.max_concurrent_streams", 100_000)]
LAST_CALLS_S: Final = 2.0
REDIS_TIMEOUT_S: Final = 1.0

log = structlog.get_logger("chat")


async def main() -> None:
    """Start, serve until told to stop, and leave in order."""
    settings = ChatSettings.load()
    telemetry.configure_logging(settings.log_format, settings.log_level)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(telemetry.configure_tracing("chat", endpoint=settings.otlp_endpoint))
        if settings.metrics_listen:
            stack.callback(telemetry.start_metrics(settings.metrics_listen))
        database = await _database(settings)
        stack.push_async_callback(database.client.close)
        redis = Redis.from_url(
            settings.redis_url.get_secret_value(),
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
        )
        stack.push_async_callback(redis.aclose)
        etcd = await stack.enter_async_context(Etcd(settings.etcd_endpoints))
        await _serve(settings, database, redis, Membership(etcd, _me(settings)))


async def _serve(settings: ChatSettings, database: Database, redis: Redis, membership: Membership) -> None:
    clock = SystemClock()
    credential = ServiceCredential.from_file(settings.service_credential_file)
    verifier = TokenVerifier.from_file(
        settings.jwks_file, issuer=settings.token_issuer, audience=settings.token_audience, clock=clock
    )
    devices = MongoDevices(database)
    accounts_at: list[Accounts] = []

    async def is_signed_in(user_id: str, device_id: str) -> bool:
        return await accounts_at[0].device_is_signed_in(user_id, device_id)

    server = ChatServer(membership, credential, database, redis, verifier.verify, is_signed_in, settings.limits, clock)
    accounts = _accounts(settings, MongoAccounts(database), devices, server, clock)
    accounts_at.append(accounts)
    await MongoAccounts(database).ensure_indexes()
    await server.prepare()
    public = Server(
        settings.listen,
        _public_handlers(server, accounts, verifier, settings, clock),
        ["parley.chat.v1.ChatService", "parley.chat.v1.ConversationService", "parley.chat.v1.AccountService"],
        options=PUBLIC_OPTIONS,
    )
    mesh = service_handler(
        mesh_pb2.DESCRIPTOR.services_by_name["MeshService"],
        MeshServicer(server.links),
        authenticate=credential.check,
    )
    internal = Server(
        settings.internal_listen,
        [mesh],
        ["parley.internal.v1.MeshService"],
        max_message_bytes=MESH_MESSAGE_BYTES,
    )
    await _live(settings, server, public, internal)


async def _live(settings: ChatSettings, server: ChatServer, public: Server, internal: Server) -> None:
    async with asyncio.TaskGroup() as group:
        roles = group.create_task(server.run())
        await internal.start()
        await public.start()
        member = group.create_task(server.membership.run())
        await server.membership.ready()
        for each in (public, internal):
            each.set_serving(True)
        log.info("serving", address=settings.listen, server_id=server.membership.me.server_id)
        await until_stopped()
        log.info("leaving")
        for each in (public, internal):
            each.set_serving(False)
        await server.drain(settings.drain_seconds)
        member.cancel()
        await asyncio.wait([member])
        await public.stop(LAST_CALLS_S)
        roles.cancel()
        await internal.stop(LAST_CALLS_S)
    log.info("left")


def _public_handlers(
    server: ChatServer, accounts: Accounts, verifier: TokenVerifier, settings: ChatSettings, clock: Clock
) -> list[grpc.GenericRpcHandler]:
    authenticate = verifier.authenticate
    return [
        service_handler(
            chat_pb2.DESCRIPTOR.services_by_name["ChatService"],
            chat.ChatServicer(server.edge, server.homes, server.history),
            authenticate=authenticate,
            not_yet_served=chat.NOT_YET_SERVED,
        ),
        service_handler(
            conversation_pb2.DESCRIPTOR.services_by_name["ConversationService"],
            conversation.ConversationServicer(
                server.owners, server.history, accounts.users_exist, settings.limits, clock
            ),
            authenticate=authenticate,
            not_yet_served=conversation.NOT_YET_SERVED,
        ),
        service_handler(
            account_pb2.DESCRIPTOR.services_by_name["AccountService"],
            account.AccountServicer(accounts),
            authenticate=authenticate,
            open_methods=account.OPEN_METHODS,
            not_yet_served=account.NOT_YET_SERVED,
        ),
        *not_served.handlers(authenticate),
    ]


def _accounts(
    settings: ChatSettings, store: MongoAccounts, devices: MongoDevices, server: ChatServer, clock: Clock
) -> Accounts:
    signer = TokenSigner.from_file(
        settings.signing_key_file,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        lifetime=settings.token_lifetime,
        clock=clock,
    )

    async def on_signed_out(user_id: str, device_id: str, reason: str) -> None:
        server.homes.sign_out(
            user_id, device_id, Failure("this device was signed out", code="UNAUTHENTICATED", reason=reason)
        )

    return Accounts(
        store,
        devices,
        Passwords(),
        signer,
        clock,
        home_of=server.homes.address_of,
        on_signed_out=on_signed_out,
        settings=AccountSettings(tries_per_peer=Allowance(settings.sign_in_rate, settings.sign_in_burst)),
    )


def _me(settings: ChatSettings) -> Member:
    address = settings.advertise or settings.listen
    return Member(
        server_id=settings.server_id or address,
        address=address,
        internal_address=settings.internal_advertise or settings.internal_listen,
        started_ms=time.time_ns() // 1_000_000,
    )


async def _database(settings: ChatSettings) -> Database:
    try:
        return await connect(settings.mongo_uri.get_secret_value(), settings.mongo_database)
    except StoreUnavailable:
        raise ConfigurationError("MongoDB does not answer at the address in PARLEY_MONGO_URI.") from None


if __name__ == "__main__":
    run(main())

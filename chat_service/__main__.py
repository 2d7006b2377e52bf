"""`python -m chat_service`: a chat server on MongoDB, Redis and etcd; the only module that chooses implementations."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import grpc
import structlog
from redis.asyncio import Redis

from chat_service import not_served
from chat_service.accounts.accounts import Accounts
from chat_service.accounts.blocks import BlockService
from chat_service.accounts.deletion import AccountDeletion
from chat_service.accounts.passwords import PasswordHasherPool
from chat_service.accounts.privacy import GroupConsent
from chat_service.accounts.profiles import ProfileService
from chat_service.directory.notifications import NotificationContextReader
from chat_service.directory.relations import RelationReader
from chat_service.errors import StoreUnavailable
from chat_service.mesh.group_leaver import GroupLeaver
from chat_service.mesh.peer_pool import MeshServicer
from chat_service.model.ids import direct_id
from chat_service.server import MAX_DEVICES, ChatServer
from chat_service.servicers import account, chat, conversation
from chat_service.servicers.account_export import AccountExport
from chat_service.servicers.conversation import UserChecks
from chat_service.servicers.dependencies import Dependencies, rate_limited
from chat_service.servicers.directory import DirectoryServicer, refuse_while_draining
from chat_service.settings import ChatSettings
from chat_service.storage.accounts import MongoAccountStore
from chat_service.storage.attempts import MongoAttemptCounter
from chat_service.storage.devices import MongoDeviceStore
from chat_service.storage.memberships import MongoMembershipStore
from chat_service.storage.mongo import Database, connect
from chat_service.storage.redis import connect_redis
from chat_service.storage.relations import MongoBlockStore, MongoContacts
from chat_service.stores import Stores
from chat_service.stream.admission import Admission, Admit
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from parley.internal.v1 import directory_pb2, mesh_pb2
from servicekit import telemetry
from servicekit.auth import ServiceCredential, TokenSigner, TokenVerifier, generate_signing_key
from servicekit.clock import Clock, SystemClock
from servicekit.config import ConfigurationError, read_file
from servicekit.etcd import Etcd
from servicekit.membership import Membership, Superseded
from servicekit.rate_limiter import RateLimit, RateLimiter
from servicekit.ring import RingMember
from servicekit.rpc import service_handler
from servicekit.server import Server, run, wait_for_signal
from servicekit.subjects import external_ids, native_ids

CHAT: Final = chat_pb2.DESCRIPTOR.services_by_name["ChatService"]
CONVERSATION: Final = conversation_pb2.DESCRIPTOR.services_by_name["ConversationService"]
ACCOUNT: Final = account_pb2.DESCRIPTOR.services_by_name["AccountService"]
MESH: Final = mesh_pb2.DESCRIPTOR.services_by_name["MeshService"]
DIRECTORY: Final = directory_pb2.DESCRIPTOR.services_by_name["DirectoryService"]
SERVED: Final = [CHAT.full_name, CONVERSATION.full_name, ACCOUNT.full_name]
MESH_MESSAGE_BYTES: Final = 64 * 1024 * 1024
STOP_TIMEOUT_S: Final = 2.0

log = structlog.get_logger("chat")


async def main() -> None:
    """Run a chat server until SIGTERM or SIGINT, then drain and stop it."""
    settings = ChatSettings.load()
    telemetry.configure_logging(settings.log_format, settings.log_level)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(configure_tracing(settings))
        if settings.metrics_listen:
            stack.callback(telemetry.start_metrics(settings.metrics_listen))
        database = await _database(settings)
        stack.push_async_callback(database.client.close)
        redis = connect_redis(settings.redis_url.get_secret_value())
        stack.push_async_callback(redis.aclose)
        etcd = await stack.enter_async_context(Etcd(settings.etcd_endpoints))
        await _serve(settings, database, redis, Membership(etcd, _me(settings)))


def configure_tracing(settings: ChatSettings) -> Callable[[], None]:
    """Start tracing with the endpoint and ratio of the settings, and return the function that flushes and ends it."""
    return telemetry.configure_tracing("chat", endpoint=settings.otlp_endpoint, sample_ratio=settings.trace_ratio)


async def _serve(settings: ChatSettings, database: Database, redis: Redis, membership: Membership) -> None:
    clock = SystemClock()
    credential = ServiceCredential.from_file(settings.service_credential_file)
    verifier = _verifier(settings, clock)
    with contextlib.closing(PasswordHasherPool()) as passwords:
        # Accounts and streams depend on each other: a sign-out closes a stream, and a stream checks the sign-in.
        accounts = await _accounts(settings, database, passwords, clock, lambda: server)
        server = ChatServer(
            membership,
            credential,
            Stores(database, redis, membership, search=settings.search),
            Admission(verifier.verify, accounts.admit, clock),
            settings.limits,
            clock,
            settings.retention_policy,
        )
        await server.stores.prepare()
        store = MongoAccountStore(database)
        profiles = ProfileService(store)
        calls = RateLimiter(RateLimit(settings.calls_per_second, settings.calls_burst), clock, MAX_DEVICES)
        blocks = _block_service(server, profiles)
        export = AccountExport(accounts, profiles, blocks, server.history, clock)
        servicer = account.AccountServicer(accounts, profiles, blocks, export)
        user_checks = _user_checks(server, profiles, store, MongoContacts(database))
        public = Server(
            settings.listen,
            _public_handlers(
                server, rate_limited(accounts.admit, calls), servicer, user_checks, verifier, settings, clock
            ),
            SERVED,
        )
        internal = Server(
            settings.internal_listen,
            [_mesh_handler(server, credential), _directory_handler(server, credential, database, profiles, clock)],
            [MESH.full_name, DIRECTORY.full_name],
            max_message_bytes=MESH_MESSAGE_BYTES,
        )
        try:
            await _run_until_signal(settings, server, accounts.deletion, public, internal)
        except* Superseded:
            name = membership.me.server_id
            raise ConfigurationError(
                f"A process that started later uses the server id {name}; set another PARLEY_SERVER_ID."
            ) from None


def _verifier(settings: ChatSettings, clock: Clock) -> TokenVerifier:
    return TokenVerifier.from_file(
        settings.jwks_file,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        read_ids=native_ids if settings.sign_in_here else external_ids(settings.token_issuer),
        clock=clock,
    )


async def _accounts(
    settings: ChatSettings,
    database: Database,
    passwords: PasswordHasherPool,
    clock: Clock,
    server: Callable[[], ChatServer],
) -> Accounts:
    """Create the accounts and their indexes; `server` is called only while calls are served."""
    store, attempts = MongoAccountStore(database), MongoAttemptCounter(database)
    await store.ensure_indexes()
    await attempts.ensure_indexes()
    return Accounts(
        store,
        MongoDeviceStore(database),
        attempts,
        passwords,
        _signer(settings, clock),
        clock,
        home_of=lambda user_id: server().homes.address_of(user_id),
        on_signed_out=lambda *session: server().sign_out(*session),
        leave_groups=lambda user_id: GroupLeaver(server().history, server().owners).leave_groups(user_id),
        purges=(MongoBlockStore(database).delete_all_of, MongoMembershipStore(database).delete_all_of),
        settings=settings.accounts,
    )


async def _run_until_signal(
    settings: ChatSettings, server: ChatServer, deletion: AccountDeletion, public: Server, internal: Server
) -> None:
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.run())
        await internal.start()
        await public.start()
        registration = group.create_task(server.membership.run())
        await server.membership.wait_registered()
        for listener in (public, internal):
            listener.set_serving(True)
        log.info("server started", address=settings.listen, server_id=server.membership.me.server_id)
        deletions = group.create_task(deletion.run())
        await wait_for_signal()
        log.info("server draining")
        for listener in (public, internal):
            listener.set_serving(False)
        deletions.cancel()
        await server.drain(settings.drain_seconds)
        registration.cancel()
        await asyncio.wait([registration])
        await public.stop(STOP_TIMEOUT_S)
        serving.cancel()
        await internal.stop(STOP_TIMEOUT_S)
    log.info("server stopped")


def _public_handlers(
    server: ChatServer,
    admit: Admit,
    servicer: account.AccountServicer,
    user_checks: UserChecks,
    verifier: TokenVerifier,
    settings: ChatSettings,
    clock: Clock,
) -> list[grpc.GenericRpcHandler]:
    authenticate, dependencies = verifier.authenticate, _dependencies(server, settings, clock)
    return [
        service_handler(
            CHAT,
            chat.ChatServicer(dependencies),
            authenticate=authenticate,
            admit=admit,
            admission_exempt=chat.ADMISSION_EXEMPT,
        ),
        service_handler(
            CONVERSATION,
            conversation.ConversationServicer(dependencies, user_checks),
            authenticate=authenticate,
            admit=admit,
        ),
        service_handler(
            ACCOUNT,
            servicer,
            authenticate=authenticate,
            admit=admit,
            open_methods=account.OPEN_METHODS,
            admission_exempt=account.ADMISSION_EXEMPT,
        ),
        *not_served.handlers(authenticate),
    ]


def _dependencies(server: ChatServer, settings: ChatSettings, clock: Clock) -> Dependencies:
    return Dependencies(
        server.edge,
        server.homes,
        server.streams,
        server.owners,
        server.history,
        server.personal,
        server.search,
        server.rates,
        settings.limits,
        clock,
    )


def _user_checks(
    server: ChatServer, profiles: ProfileService, store: MongoAccountStore, contacts: MongoContacts
) -> UserChecks:
    consent = GroupConsent(store.load_adding_rules, server.stores.blocks.filter_blocking, contacts.filter_acquainted)
    return UserChecks(profiles.filter_existing, server.stores.blocks.is_blocked_either_way, consent.find_refusing)


def _block_service(server: ChatServer, profiles: ProfileService) -> BlockService:
    async def on_block_changed(user_id: str, other_id: str) -> None:
        await server.owners.invalidate_and_wait(direct_id(user_id, other_id))
        # A block also ends the presence subscriptions between the two.
        for user in (user_id, other_id):
            server.homes.recheck_user(user)

    return BlockService(server.stores.blocks, profiles.filter_existing, on_block_changed)


def _mesh_handler(server: ChatServer, credential: ServiceCredential) -> grpc.GenericRpcHandler:
    return service_handler(MESH, MeshServicer(server.peers), authenticate=credential.check)


def _directory_handler(
    server: ChatServer, credential: ServiceCredential, database: Database, profiles: ProfileService, clock: Clock
) -> grpc.GenericRpcHandler:
    stores = server.stores
    relations = RelationReader(MongoContacts(database), stores.blocks)
    notifications = NotificationContextReader(server.history, stores.memberships, profiles.load_profiles, clock)
    return service_handler(
        DIRECTORY,
        DirectoryServicer(server.history, server.media_access, relations, notifications, stores.devices),
        authenticate=refuse_while_draining(credential.check, lambda: server.draining),
    )


def _signer(settings: ChatSettings, clock: Clock) -> TokenSigner:
    key = settings.signing_key_file
    if key is None and settings.sign_in_here:
        raise ConfigurationError("PARLEY_SIGNING_KEY_FILE is not set, and users sign in here.")
    return TokenSigner(
        # With another issuer this server signs nothing; the generated key is never used.
        read_file(key, bytes, "a signing key") if key else generate_signing_key(),
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        lifetime=settings.token_lifetime,
        clock=clock,
    )


def _me(settings: ChatSettings) -> RingMember:
    address = settings.advertise or settings.listen
    return RingMember(
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

"""`python -m chat_service`: a chat server on real stores; the only place that chooses implementations."""

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
from chat_service.errors import StoreUnavailable
from chat_service.mesh.group_leaver import GroupLeaver
from chat_service.mesh.peer_pool import MeshServicer
from chat_service.model.ids import direct_id
from chat_service.server import MAX_DEVICES, ChatServer
from chat_service.servicers import account, chat, conversation
from chat_service.servicers.account_export import AccountExport
from chat_service.servicers.conversation import UserChecks
from chat_service.servicers.dependencies import Dependencies, rate_limited
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
from parley.internal.v1 import mesh_pb2
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
SERVED: Final = [CHAT.full_name, CONVERSATION.full_name, ACCOUNT.full_name]
MESH_MESSAGE_BYTES: Final = 64 * 1024 * 1024
LAST_CALLS_S: Final = 2.0

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
        redis = connect_redis(settings.redis_url.get_secret_value())
        stack.push_async_callback(redis.aclose)
        etcd = await stack.enter_async_context(Etcd(settings.etcd_endpoints))
        await _serve(settings, database, redis, Membership(etcd, _me(settings)))


async def _serve(settings: ChatSettings, database: Database, redis: Redis, membership: Membership) -> None:
    clock = SystemClock()
    credential = ServiceCredential.from_file(settings.service_credential_file)
    verifier = _verifier(settings, clock)
    with contextlib.closing(PasswordHasherPool()) as passwords:
        # Accounts and streams need each other: signing out ends a stream, and a stream asks who is signed in.
        accounts = await _accounts(settings, database, passwords, clock, lambda: server)
        server = ChatServer(
            membership,
            credential,
            Stores(database, redis, membership, searchable=settings.search),
            Admission(verifier.verify, accounts.admit, clock),
            settings.limits,
            clock,
            settings.retention_policy,
        )
        await server.stores.prepare()
        store = MongoAccountStore(database)
        people = ProfileService(store)
        calls = RateLimiter(RateLimit(settings.calls_per_second, settings.calls_burst), clock, MAX_DEVICES)
        blocks = _blocking(server, people)
        export = AccountExport(accounts, people, blocks, server.history, clock)
        servicer = account.AccountServicer(accounts, people, blocks, export)
        contacts = _contacts(server, people, store, MongoContacts(database))
        public = Server(
            settings.listen,
            _public_handlers(
                server, rate_limited(accounts.admit, calls), servicer, contacts, verifier, settings, clock
            ),
            SERVED,
        )
        internal = Server(
            settings.internal_listen,
            [_mesh_handler(server, credential)],
            [MESH.full_name],
            max_message_bytes=MESH_MESSAGE_BYTES,
        )
        try:
            await _live(settings, server, accounts.deletion, public, internal)
        except* Superseded:
            name = membership.me.server_id
            raise ConfigurationError(f"A later process with the server id {name} has taken this one's place.") from None


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
    """The accounts; `server` is asked for once calls are served."""
    store, tries = MongoAccountStore(database), MongoAttemptCounter(database)
    await store.ensure_indexes()
    await tries.ensure_indexes()
    return Accounts(
        store,
        MongoDeviceStore(database),
        tries,
        passwords,
        _signer(settings, clock),
        clock,
        home_of=lambda user_id: server().homes.address_of(user_id),
        on_signed_out=lambda *who: server().sign_out(*who),
        leave_groups=lambda user_id: GroupLeaver(server().history, server().owners).leave_groups(user_id),
        purges=(MongoBlockStore(database).delete_all_of, MongoMembershipStore(database).delete_all_of),
        settings=settings.accounts,
    )


async def _live(
    settings: ChatSettings, server: ChatServer, deletion: AccountDeletion, public: Server, internal: Server
) -> None:
    async with asyncio.TaskGroup() as group:
        roles = group.create_task(server.run())
        await internal.start()
        await public.start()
        member = group.create_task(server.membership.run())
        await server.membership.wait_registered()
        for each in (public, internal):
            each.set_serving(True)
        log.info("serving", address=settings.listen, server_id=server.membership.me.server_id)
        deletions = group.create_task(deletion.run())
        await wait_for_signal()
        log.info("leaving")
        for each in (public, internal):
            each.set_serving(False)
        deletions.cancel()
        await server.drain(settings.drain_seconds)
        member.cancel()
        await asyncio.wait([member])
        await public.stop(LAST_CALLS_S)
        roles.cancel()
        await internal.stop(LAST_CALLS_S)
    log.info("left")


def _public_handlers(
    server: ChatServer,
    admit: Admit,
    servicer: account.AccountServicer,
    contacts: UserChecks,
    verifier: TokenVerifier,
    settings: ChatSettings,
    clock: Clock,
) -> list[grpc.GenericRpcHandler]:
    authenticate, roles = verifier.authenticate, _roles(server, settings, clock)
    return [
        service_handler(
            CHAT,
            chat.ChatServicer(roles),
            authenticate=authenticate,
            admit=admit,
            admission_exempt=chat.ADMITTED_ANYWAY,
        ),
        service_handler(
            CONVERSATION,
            conversation.ConversationServicer(roles, contacts),
            authenticate=authenticate,
            admit=admit,
        ),
        service_handler(
            ACCOUNT,
            servicer,
            authenticate=authenticate,
            admit=admit,
            open_methods=account.OPEN_METHODS,
            admission_exempt=account.ADMITTED_ANYWAY,
        ),
        *not_served.handlers(authenticate),
    ]


def _roles(server: ChatServer, settings: ChatSettings, clock: Clock) -> Dependencies:
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


def _contacts(
    server: ChatServer, people: ProfileService, store: MongoAccountStore, acquaintances: MongoContacts
) -> UserChecks:
    consent = GroupConsent(store.load_adding_rules, server.stores.blocks.filter_blocking, acquaintances.filter_contacts)
    return UserChecks(people.filter_existing, server.stores.blocks.is_blocked_either_way, consent.find_refusing)


def _blocking(server: ChatServer, people: ProfileService) -> BlockService:
    async def have_everybody_look(user_id: str, other_id: str) -> None:
        await server.owners.invalidate_and_wait(direct_id(user_id, other_id))
        # Whoever of the two watches the other is told nothing more.
        for each in (user_id, other_id):
            server.homes.recheck_user(each)

    return BlockService(server.stores.blocks, people.filter_existing, have_everybody_look)


def _mesh_handler(server: ChatServer, credential: ServiceCredential) -> grpc.GenericRpcHandler:
    return service_handler(MESH, MeshServicer(server.links), authenticate=credential.check)


def _signer(settings: ChatSettings, clock: Clock) -> TokenSigner:
    key = settings.signing_key_file
    if key is None and settings.sign_in_here:
        raise ConfigurationError("PARLEY_SIGNING_KEY_FILE is not set, and users sign in here.")
    return TokenSigner(
        # Where another issuer signs, nothing is ever signed with this one.
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

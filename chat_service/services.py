"""The gRPC services of a chat server, assembled from its roles, its stores and the accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.blocks import BlockService
from chat_service.accounts.passwords import PasswordHasherPool
from chat_service.accounts.privacy import GroupConsent
from chat_service.accounts.profiles import ProfileService
from chat_service.accounts.stranger_limits import StrangerLimiter
from chat_service.device_eraser import DeviceEraser
from chat_service.directory.notifications import NotificationContextReader
from chat_service.directory.relations import RelationReader
from chat_service.media.catalog import Catalog, EmptyMediaCatalog, MediaCatalogClient
from chat_service.mesh.group_leaver import GroupLeaver
from chat_service.mesh.peer_pool import MeshServicer
from chat_service.model.ids import direct_id
from chat_service.personal_data import PersonalDataClient
from chat_service.presence.reporter import PresenceReporter
from chat_service.server import ChatServer
from chat_service.servicers import account, chat, conversation
from chat_service.servicers.account_export import AccountExport
from chat_service.servicers.admin import ChatAdminServicer
from chat_service.servicers.audited import ACCOUNT_AUDIT, CONVERSATION_AUDIT
from chat_service.servicers.conversation import UserChecks
from chat_service.servicers.dependencies import Dependencies
from chat_service.servicers.directory import DirectoryServicer
from chat_service.settings import ChatSettings
from chat_service.stores import Stores
from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2
from parley.internal.v1 import chat_admin_pb2, directory_pb2, mesh_pb2
from parley.internal.v1.media_pb2_grpc import MediaCatalogServiceStub
from parley.internal.v1.personal_data_pb2_grpc import PersonalDataServiceStub
from servicekit.auth import TokenSigner, generate_signing_key
from servicekit.clock import Clock
from servicekit.config import ConfigurationError, read_file
from servicekit.ring_watcher import RingWatcher
from servicekit.service import Platform, ServedService
from servicekit.transport import OPERATOR

CHAT: Final = chat_pb2.DESCRIPTOR.services_by_name["ChatService"]
CONVERSATION: Final = conversation_pb2.DESCRIPTOR.services_by_name["ConversationService"]
ACCOUNT: Final = account_pb2.DESCRIPTOR.services_by_name["AccountService"]
DIRECTORY: Final = directory_pb2.DESCRIPTOR.services_by_name["DirectoryService"]
CHAT_ADMIN: Final = chat_admin_pb2.DESCRIPTOR.services_by_name["ChatAdminService"]
MESH: Final = mesh_pb2.DESCRIPTOR.services_by_name["MeshService"]


def create_accounts(
    settings: ChatSettings,
    stores: Stores,
    passwords: PasswordHasherPool,
    personal_data: PersonalDataClient,
    eraser: DeviceEraser,
    clock: Clock,
    server: Callable[[], ChatServer],
) -> Accounts:
    """Return the accounts, on the stores of a chat server. `server` is called only while calls are served."""

    async def sign_out(user_id: str, device_id: str, reason: str) -> None:
        eraser.note(user_id, device_id)
        await server().sign_out(user_id, device_id, reason)

    return Accounts(
        stores.accounts,
        stores.devices,
        stores.attempts,
        passwords,
        _signer(settings, clock),
        clock,
        home_of=lambda user_id: server().homes.address_of(user_id),
        on_signed_out=sign_out,
        leave_groups=lambda user_id: GroupLeaver(server().history, server().owners).leave_groups(user_id),
        purges=(
            stores.blocks.delete_all_of,
            stores.memberships.delete_all_of,
            stores.index.delete_user,
            personal_data.erase_user,
        ),
        settings=settings.accounts,
    )


def open_catalog(platform: Platform[ChatSettings]) -> Catalog:
    """Return the catalog of files of the deployment."""
    if not platform.settings.media_service:
        return EmptyMediaCatalog()
    return MediaCatalogClient(platform.open_channel("media").stub(MediaCatalogServiceStub), platform.clock)


def open_personal_data(platform: Platform[ChatSettings]) -> PersonalDataClient:
    """Return the client of the services of the deployment that keep data of users."""
    settings = platform.settings
    switches = {"presence": settings.presence_service, "notify": settings.notify_service}
    services = [name for name, is_used in switches.items() if is_used]
    return PersonalDataClient([platform.open_channel(each).stub(PersonalDataServiceStub) for each in services])


def open_reporter(platform: Platform[ChatSettings]) -> PresenceReporter | None:
    """Return the reporter to the presence service of the deployment, None if it has none."""
    if not platform.settings.presence_service:
        return None
    me = platform.membership.me
    servers = RingWatcher(platform.etcd, service="presence")
    return PresenceReporter(
        servers, platform.credential, me.server_id, me.started_ms, platform.clock, platform.transport
    )


def public_services(
    settings: ChatSettings, server: ChatServer, accounts: Accounts, personal_data: PersonalDataClient, clock: Clock
) -> list[ServedService]:
    """Return the services that users call."""
    profiles, catalog = ProfileService(server.stores.accounts), server.catalog
    blocks = _block_service(server, profiles)
    export = AccountExport(
        accounts, profiles, blocks, server.history, catalog.list_owned, personal_data.export_user, clock
    )
    dependencies = _dependencies(settings, server, clock)
    return [
        ServedService(CHAT, chat.ChatServicer(dependencies)),
        ServedService(
            CONVERSATION,
            conversation.ConversationServicer(dependencies, _user_checks(server.stores, profiles, settings, clock)),
            audited=CONVERSATION_AUDIT,
        ),
        ServedService(
            ACCOUNT,
            account.AccountServicer(accounts, profiles, blocks, export, catalog),
            open_methods=account.OPEN_METHODS,
            admission_exempt=account.ADMISSION_EXEMPT,
            audited=ACCOUNT_AUDIT,
        ),
    ]


def internal_services(server: ChatServer, clock: Clock) -> list[ServedService]:
    """Return the services that other servers call."""
    stores = server.stores
    directory = DirectoryServicer(
        server.history,
        server.media_access,
        RelationReader(stores.contacts, stores.blocks),
        NotificationContextReader(
            server.history,
            stores.log,
            stores.memberships,
            stores.blocks,
            ProfileService(stores.accounts).load_profiles,
            clock,
        ),
        stores.devices,
        server.homes,
        stores.accounts,
    )
    admin = ChatAdminServicer(
        server.sessions,
        server.home,
        server.owner,
        server.peers,
        server.homes,
        server.owners,
        server.membership,
        clock,
    )
    return [
        ServedService(MESH, MeshServicer(server.peers), allowed_callers=["chat"]),
        ServedService(DIRECTORY, directory, allowed_callers=["media", "presence", "notify", OPERATOR]),
        ServedService(CHAT_ADMIN, admin, allowed_callers=[OPERATOR]),
    ]


def _dependencies(settings: ChatSettings, server: ChatServer, clock: Clock) -> Dependencies:
    return Dependencies(
        server.edge,
        server.homes,
        server.streams,
        server.owners,
        server.history,
        server.personal,
        server.catalog,
        server.search,
        server.rates,
        settings.limits,
        clock,
    )


def _user_checks(stores: Stores, profiles: ProfileService, settings: ChatSettings, clock: Clock) -> UserChecks:
    consent = GroupConsent(
        stores.accounts.load_adding_rules, stores.blocks.filter_blocking, stores.contacts.filter_acquainted
    )
    strangers = StrangerLimiter(stores.contacts.filter_acquainted, stores.attempts, clock, settings.stranger_limits)
    return UserChecks(
        profiles.filter_existing, stores.blocks.is_blocked_either_way, consent.find_refusing, strangers.count
    )


def _block_service(server: ChatServer, profiles: ProfileService) -> BlockService:
    async def on_block_changed(user_id: str, other_id: str) -> None:
        await server.owners.invalidate_and_wait(direct_id(user_id, other_id))
        server.presence.change_relation(user_id, other_id)

    return BlockService(server.stores.blocks, profiles.filter_existing, on_block_changed)


def _signer(settings: ChatSettings, clock: Clock) -> TokenSigner:
    key = settings.signing_key_file
    if key is None and settings.sign_in_here:
        raise ConfigurationError(
            "PARLEY_SIGNING_KEY_FILE is not set; it is required unless PARLEY_SIGN_IN_HERE is false."
        )
    return TokenSigner(
        # With another issuer this server signs nothing; the generated key is never used.
        read_file(key, bytes, "a signing key") if key else generate_signing_key(),
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        lifetime=settings.token_lifetime,
        clock=clock,
    )

"""AccountService over gRPC: tokens, rules of the contract, and error reasons."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

import grpc
import pytest
from google.rpc.status_pb2 import Status

from chat_service.accounts.accounts import Accounts
from chat_service.media.catalog import EmptyMediaCatalog
from chat_service.personal_data import PersonalDataClient
from chat_service.servicers.account import ADMISSION_EXEMPT, OPEN_METHODS, AccountServicer
from chat_service.servicers.account_export import AccountExport
from parley.chat.v1 import account_pb2
from parley.chat.v1.account_pb2_grpc import AccountServiceStub
from servicekit.failure import Failure
from servicekit.rpc import service_handler
from servicekit.server import Server
from servicekit.status import from_proto
from tests.integration.accounts.environment import HOME, NO_FILE, VIDEO, AccountsEnvironment, PictureCatalog

pytestmark = pytest.mark.integration

SERVICE = account_pb2.DESCRIPTOR.services_by_name["AccountService"]


@pytest.fixture
async def service(environment: AccountsEnvironment, accounts: Accounts) -> AsyncIterator[AccountServiceStub]:
    handler = service_handler(
        SERVICE,
        AccountServicer(
            accounts,
            environment.profiles(),
            environment.blocking(),
            AccountExport(
                accounts,
                environment.profiles(),
                environment.blocking(),
                environment.history(),
                EmptyMediaCatalog().list_owned,
                PersonalDataClient([]).export_user,
                environment.clock,
            ),
            PictureCatalog(),
        ),
        authenticate=environment.verifier().authenticate,
        admit=accounts.admit,
        open_methods=OPEN_METHODS,
        admission_exempt=ADMISSION_EXEMPT,
    )
    server = Server("127.0.0.1:0", [handler], [SERVICE.full_name])
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield AccountServiceStub(channel)
    await server.stop(0)


async def refusal(call: Awaitable[object]) -> Failure:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    return from_proto(Status.FromString(details))


async def register(service: AccountServiceStub, name: str, display_name: str = "") -> account_pb2.Session:
    request = account_pb2.RegisterRequest(login_name=name, password="correct horse", display_name=display_name)
    return (await service.Register(request)).session


def bearer(session: account_pb2.Session) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {session.access_token}"),)


async def test_account_lifecycle_from_register_to_logout(
    environment: AccountsEnvironment, service: AccountServiceStub
) -> None:
    first = await register(service, "Alice")
    assert first.home == HOME
    device = account_pb2.DeviceDescription(name="laptop", platform=account_pb2.PLATFORM_DESKTOP)
    request = account_pb2.LoginRequest(login_name="ALICE", password="correct horse", device=device)
    session = (await service.Login(request)).session
    assert session.user_id == first.user_id
    assert session.access_token_expire_time.ToSeconds() == environment.clock.now_ms() // 1000 + 600
    refresh = account_pb2.RefreshTokenRequest(refresh_token=session.refresh_token)
    session = (await service.RefreshToken(refresh)).session
    await service.Logout(account_pb2.LogoutRequest(), metadata=bearer(session))
    assert environment.signed_out == [(session.user_id, session.device_id, "DEVICE_REVOKED")]
    refresh = account_pb2.RefreshTokenRequest(refresh_token=session.refresh_token)
    assert (await refusal(service.RefreshToken(refresh))).reason == "REFRESH_TOKEN_INVALID"
    update = account_pb2.UpdateProfileRequest(about="still here?")
    assert (await refusal(service.UpdateProfile(update, metadata=bearer(session)))).reason == "DEVICE_REVOKED"
    look = account_pb2.GetProfileRequest()
    assert (await refusal(service.GetProfile(look, metadata=bearer(session)))).reason == "DEVICE_REVOKED"
    # A repeat ends streams that outlived the first Logout.
    await service.Logout(account_pb2.LogoutRequest(), metadata=bearer(session))
    assert len(environment.signed_out) == 2


async def test_profiles_are_read_and_updated(service: AccountServiceStub) -> None:
    alice, bob = await register(service, "alice"), await register(service, "bob")
    update = account_pb2.UpdateProfileRequest(display_name=" Alice  Šmith", about="hi", picture_media_id="c" * 32)
    changed = (await service.UpdateProfile(update, metadata=bearer(alice))).profile
    assert (changed.display_name, changed.about, changed.picture_media_id) == ("Alice Šmith", "hi", "c" * 32)
    request = account_pb2.GetProfileRequest(user_id=alice.user_id)
    assert (await service.GetProfile(request, metadata=bearer(bob))).profile == changed
    own = (await service.GetProfile(account_pb2.GetProfileRequest(), metadata=bearer(bob))).profile
    assert (own.user_id, own.display_name) == (bob.user_id, "bob")
    update = account_pb2.UpdateProfileRequest(picture_media_id=VIDEO)
    refused = await refusal(service.UpdateProfile(update, metadata=bearer(alice)))
    assert (refused.reason, [each.field for each in refused.violations]) == ("FIELD_INVALID", ["picture_media_id"])
    update = account_pb2.UpdateProfileRequest(about="bye", picture_media_id=NO_FILE)
    assert (await refusal(service.UpdateProfile(update, metadata=bearer(alice)))).reason == "MEDIA_NOT_FOUND"
    update = account_pb2.UpdateProfileRequest(picture_media_id="")
    changed = (await service.UpdateProfile(update, metadata=bearer(alice))).profile
    assert (changed.about, changed.picture_media_id) == ("hi", "")
    search = account_pb2.SearchUsersRequest(query="smi")
    assert (await service.SearchUsers(search, metadata=bearer(bob))).profiles == [changed]


async def test_search_is_paged(service: AccountServiceStub) -> None:
    sessions = [await register(service, f"user{number}", "Somebody Else") for number in range(5)]
    found, token, pages = [], "", 0
    while pages == 0 or token:
        request = account_pb2.SearchUsersRequest(query="ELSE", page_size=2, page_token=token)
        page = await service.SearchUsers(request, metadata=bearer(sessions[0]))
        found += [each.login_name for each in page.profiles]
        token, pages = page.next_page_token, pages + 1
    assert found == [f"user{number}" for number in range(5)]
    assert pages == 3
    request = account_pb2.SearchUsersRequest(query="els", page_token="nonsense")
    refused = await refusal(service.SearchUsers(request, metadata=bearer(sessions[0])))
    assert refused.reason == "PAGE_TOKEN_INVALID"
    for query in ("\0", " ", "\u0301", "nobody", "(", "$", "[a"):
        nothing = account_pb2.SearchUsersRequest(query=query)
        assert not (await service.SearchUsers(nothing, metadata=bearer(sessions[0]))).profiles


async def test_refused_calls_carry_code_and_reason(service: AccountServiceStub) -> None:
    alice = await register(service, "alice")
    known = account_pb2.DeviceDescription(device_id="a" * 32)
    password = "correct horse"
    unknown = account_pb2.GetProfileRequest(user_id="f" * 32)
    blank = account_pb2.UpdateProfileRequest(display_name=" ")
    calls: list[tuple[Awaitable[object], str, str]] = [
        (
            service.Register(account_pb2.RegisterRequest(login_name="alice", password=password)),
            "ALREADY_EXISTS",
            "LOGIN_NAME_TAKEN",
        ),
        (
            service.Register(account_pb2.RegisterRequest(login_name="bob", password=password, device=known)),
            "INVALID_ARGUMENT",
            "FIELD_INVALID",
        ),
        (
            service.Login(account_pb2.LoginRequest(login_name="alice", password="wrong")),
            "UNAUTHENTICATED",
            "CREDENTIALS_INVALID",
        ),
        (
            service.Login(account_pb2.LoginRequest(login_name="alice", password=password, device=known)),
            "NOT_FOUND",
            "DEVICE_NOT_FOUND",
        ),
        (service.GetProfile(unknown, metadata=bearer(alice)), "NOT_FOUND", "USER_NOT_FOUND"),
        (service.UpdateProfile(blank, metadata=bearer(alice)), "INVALID_ARGUMENT", "FIELD_INVALID"),
        (service.Logout(account_pb2.LogoutRequest()), "UNAUTHENTICATED", "TOKEN_MISSING"),
    ]
    for call, code, reason in calls:
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (code, reason)

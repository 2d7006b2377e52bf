"""AccountService: what its calls take from a request, ask of the accounts, and answer."""

from __future__ import annotations

from chat_service.accounts.accounts import Accounts
from chat_service.wire.account import (
    change_from_proto,
    device_from_proto,
    first_device_from_proto,
    page_to_proto,
    profile_to_proto,
    session_to_proto,
)
from parley.chat.v1.account_pb2 import (
    GetProfileRequest,
    GetProfileResponse,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    RefreshTokenRequest,
    RefreshTokenResponse,
    RegisterRequest,
    RegisterResponse,
    SearchUsersRequest,
    SearchUsersResponse,
    UpdateProfileRequest,
    UpdateProfileResponse,
)
from servicekit.rpc import Call

OPEN_METHODS = frozenset({"Register", "Login", "RefreshToken"})
# Signing out again ends the streams of a device that was signed out, in case the first time did not.
ADMITTED_ANYWAY = frozenset({"Logout"})

NOT_YET_SERVED = frozenset(
    {
        "ChangePassword",
        "ListDevices",
        "RevokeDevice",
        "BlockUser",
        "UnblockUser",
        "ListBlocked",
        "DeleteAccount",
        "ExportAccount",
    }
)


class AccountServicer:
    """Serves AccountService from `accounts`."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def Register(self, request: RegisterRequest, call: Call) -> RegisterResponse:
        """Makes an account and signs its first device in."""
        device = first_device_from_proto(request.device)
        session = await self._accounts.register(
            request.login_name, request.password, request.display_name, device, origin(call)
        )
        return RegisterResponse(session=session_to_proto(session))

    async def Login(self, request: LoginRequest, call: Call) -> LoginResponse:
        """Signs a device in."""
        session = await self._accounts.login(
            request.login_name, request.password, device_from_proto(request.device), origin(call)
        )
        return LoginResponse(session=session_to_proto(session))

    async def RefreshToken(self, request: RefreshTokenRequest, _: Call) -> RefreshTokenResponse:
        """Gives new tokens for a refresh token."""
        session = await self._accounts.refresh(request.refresh_token)
        return RefreshTokenResponse(session=session_to_proto(session))

    async def Logout(self, _: LogoutRequest, call: Call) -> LogoutResponse:
        """Signs the calling device out."""
        await self._accounts.logout(call.caller.user_id, call.caller.device_id)
        return LogoutResponse()

    async def GetProfile(self, request: GetProfileRequest, call: Call) -> GetProfileResponse:
        """Gives the profile of a user, or the caller's own."""
        profile = await self._accounts.profile(request.user_id or call.caller.user_id)
        return GetProfileResponse(profile=profile_to_proto(profile))

    async def UpdateProfile(self, request: UpdateProfileRequest, call: Call) -> UpdateProfileResponse:
        """Changes the caller's profile."""
        change = change_from_proto(request)
        profile = await self._accounts.change_profile(call.caller.user_id, change)
        return UpdateProfileResponse(profile=profile_to_proto(profile))

    async def SearchUsers(self, request: SearchUsersRequest, _: Call) -> SearchUsersResponse:
        """Finds users by the beginning of a name."""
        page = await self._accounts.search(request.query, request.page_size, request.page_token)
        return page_to_proto(page)


def origin(call: Call) -> str:
    """The address a call comes from, without its port: the one the door saw, when it came through the door.

    Envoy puts the address it saw last into `x-forwarded-for`. Who reaches our port without passing it could write
    anything there, and so escape the bound of tries by address, but not the one by login name.
    """
    seen = call.metadata.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return seen or call.peer.rpartition(":")[0] or call.peer

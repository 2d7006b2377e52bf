"""AccountService: what its calls take from a request, ask of the accounts, and answer."""

from __future__ import annotations

import re
from typing import Final

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.device import Device
from chat_service.accounts.people import People
from chat_service.wire.account import (
    change_from_proto,
    device_from_proto,
    device_to_proto,
    first_device_from_proto,
    page_to_proto,
    profile_to_proto,
    session_to_proto,
)
from chat_service.wire.conversations import page_token, read_page_token
from parley.chat.v1.account_pb2 import (
    ChangePasswordRequest,
    ChangePasswordResponse,
    GetProfileRequest,
    GetProfileResponse,
    ListDevicesRequest,
    ListDevicesResponse,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    RefreshTokenRequest,
    RefreshTokenResponse,
    RegisterRequest,
    RegisterResponse,
    RevokeDeviceRequest,
    RevokeDeviceResponse,
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
        "BlockUser",
        "UnblockUser",
        "ListBlocked",
        "DeleteAccount",
        "ExportAccount",
    }
)

DEVICES_PAGE: Final = 50
# The kinds of page tokens, and the places they lead to.
DEVICE: Final = "device"
A_DEVICE: Final = re.compile(r"[0-9]{15}:[0-9a-f]{32}")


class AccountServicer:
    """Serves AccountService."""

    def __init__(self, accounts: Accounts, people: People) -> None:
        self._accounts = accounts
        self._people = people

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
        await self._accounts.logout(call.caller)
        return LogoutResponse()

    async def ChangePassword(self, request: ChangePasswordRequest, call: Call) -> ChangePasswordResponse:
        """Sets another password and signs all other devices out."""
        await self._accounts.change_password(call.caller, request.old_password, request.new_password)
        return ChangePasswordResponse()

    async def ListDevices(self, request: ListDevicesRequest, call: Call) -> ListDevicesResponse:
        """The devices of the caller's account."""
        after = read_page_token(DEVICE, request.page_token, A_DEVICE)
        devices = [each for each in await self._accounts.devices(call.caller.user_id) if _place(each) > after]
        size = request.page_size or DEVICES_PAGE
        return ListDevicesResponse(
            devices=[device_to_proto(each, call.caller.device_id) for each in devices[:size]],
            next_page_token=page_token(DEVICE, _place(devices[size - 1])) if len(devices) > size else "",
        )

    async def RevokeDevice(self, request: RevokeDeviceRequest, call: Call) -> RevokeDeviceResponse:
        """Signs a device of the caller's account out."""
        await self._accounts.revoke(call.caller.user_id, request.device_id)
        return RevokeDeviceResponse()

    async def GetProfile(self, request: GetProfileRequest, call: Call) -> GetProfileResponse:
        """Gives the profile of a user, or the caller's own."""
        profile = await self._people.profile(request.user_id or call.caller.user_id)
        return GetProfileResponse(profile=profile_to_proto(profile))

    async def UpdateProfile(self, request: UpdateProfileRequest, call: Call) -> UpdateProfileResponse:
        """Changes the caller's profile."""
        change = change_from_proto(request)
        profile = await self._people.change_profile(call.caller.user_id, change)
        return UpdateProfileResponse(profile=profile_to_proto(profile))

    async def SearchUsers(self, request: SearchUsersRequest, _: Call) -> SearchUsersResponse:
        """Finds users by the beginning of a name."""
        page = await self._people.search(request.query, request.page_size, request.page_token)
        return page_to_proto(page)


def _place(device: Device) -> str:
    """Where a device stands among the others: by age."""
    return f"{device.created_ms:015d}:{device.device_id}"


def origin(call: Call) -> str:
    """The address a call comes from, without its port: the one the door saw, when it came through the door.

    Envoy puts the address it saw last into `x-forwarded-for`. Who reaches our port without passing it could write
    anything there, and so escape the bound of tries by address, but not the one by login name.
    """
    seen = call.metadata.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return seen or call.peer.rpartition(":")[0] or call.peer

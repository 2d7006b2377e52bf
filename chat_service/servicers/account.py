"""AccountService: signing in, devices, profiles, privacy, blocks and archives."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.blocks import BlockService
from chat_service.accounts.devices import Device
from chat_service.accounts.profiles import ProfileService
from chat_service.servicers.account_export import AccountExport
from chat_service.wire.account import (
    device_from_proto,
    device_to_proto,
    first_device_from_proto,
    page_to_proto,
    privacy_change_from_proto,
    privacy_to_proto,
    profile_change_from_proto,
    profile_to_proto,
    session_to_proto,
)
from chat_service.wire.conversations import ID_PATTERN, decode_page_token, encode_page_token
from parley.chat.v1 import account_pb2
from servicekit.rpc import Call

OPEN_METHODS: Final = frozenset({"Register", "Login", "RefreshToken"})
# What signs a device out may be asked for again by it: to end its streams, or the account, in case it was cut short.
ADMISSION_EXEMPT: Final = frozenset({"Logout", "DeleteAccount"})
DEVICES_PAGE: Final = 50
# The kind of page tokens, and the places they lead to.
DEVICE: Final = "device"
AGE_KEY_PATTERN: Final = re.compile(r"[0-9]{15}:[0-9a-f]{32}")
BLOCKED_PAGE: Final = 50
BLOCKED: Final = "blocked"


class AccountServicer:
    """Serves AccountService."""

    def __init__(
        self, accounts: Accounts, profiles: ProfileService, blocks: BlockService, export: AccountExport
    ) -> None:
        self._accounts = accounts
        self._profiles = profiles
        self._blocks = blocks
        self._export = export

    async def Register(self, request: account_pb2.RegisterRequest, call: Call) -> account_pb2.RegisterResponse:
        """Makes an account and signs its first device in."""
        device = first_device_from_proto(request.device)
        session = await self._accounts.register(
            request.login_name, request.password, request.display_name, device, client_address(call)
        )
        return account_pb2.RegisterResponse(session=session_to_proto(session))

    async def Login(self, request: account_pb2.LoginRequest, call: Call) -> account_pb2.LoginResponse:
        """Signs a device in."""
        session = await self._accounts.login(
            request.login_name, request.password, device_from_proto(request.device), client_address(call)
        )
        return account_pb2.LoginResponse(session=session_to_proto(session))

    async def RefreshToken(self, request: account_pb2.RefreshTokenRequest, _: Call) -> account_pb2.RefreshTokenResponse:
        """Gives new tokens for a refresh token."""
        session = await self._accounts.refresh(request.refresh_token)
        return account_pb2.RefreshTokenResponse(session=session_to_proto(session))

    async def Logout(self, _: account_pb2.LogoutRequest, call: Call) -> account_pb2.LogoutResponse:
        """Signs the calling device out."""
        await self._accounts.logout(call.caller)
        return account_pb2.LogoutResponse()

    async def ChangePassword(
        self, request: account_pb2.ChangePasswordRequest, call: Call
    ) -> account_pb2.ChangePasswordResponse:
        """Sets another password and signs all other devices out."""
        await self._accounts.change_password(call.caller, request.old_password, request.new_password)
        return account_pb2.ChangePasswordResponse()

    async def DeleteAccount(
        self, request: account_pb2.DeleteAccountRequest, call: Call
    ) -> account_pb2.DeleteAccountResponse:
        """Ends the caller's account."""
        await self._accounts.delete_account(call.caller, request.password)
        return account_pb2.DeleteAccountResponse()

    async def ListDevices(self, request: account_pb2.ListDevicesRequest, call: Call) -> account_pb2.ListDevicesResponse:
        """The devices of the caller's account."""
        after = decode_page_token(DEVICE, request.page_token, AGE_KEY_PATTERN)
        devices = [each for each in await self._accounts.list_devices(call.caller.user_id) if _age_key(each) > after]
        size = request.page_size or DEVICES_PAGE
        return account_pb2.ListDevicesResponse(
            devices=[device_to_proto(each, call.caller.device_id) for each in devices[:size]],
            next_page_token=encode_page_token(DEVICE, _age_key(devices[size - 1])) if len(devices) > size else "",
        )

    async def RevokeDevice(
        self, request: account_pb2.RevokeDeviceRequest, call: Call
    ) -> account_pb2.RevokeDeviceResponse:
        """Signs a device of the caller's account out."""
        await self._accounts.revoke_device(call.caller.user_id, request.device_id)
        return account_pb2.RevokeDeviceResponse()

    async def GetProfile(self, request: account_pb2.GetProfileRequest, call: Call) -> account_pb2.GetProfileResponse:
        """Gives the profile of a user, or the caller's own."""
        profile = await self._profiles.get_profile(request.user_id or call.caller.user_id)
        return account_pb2.GetProfileResponse(profile=profile_to_proto(profile))

    async def UpdateProfile(
        self, request: account_pb2.UpdateProfileRequest, call: Call
    ) -> account_pb2.UpdateProfileResponse:
        """Changes the caller's profile."""
        change = profile_change_from_proto(request)
        profile = await self._profiles.update_profile(call.caller.user_id, change)
        return account_pb2.UpdateProfileResponse(profile=profile_to_proto(profile))

    async def SearchUsers(self, request: account_pb2.SearchUsersRequest, _: Call) -> account_pb2.SearchUsersResponse:
        """Finds users by the beginning of a name."""
        page = await self._profiles.search_profiles(request.query, request.page_size, request.page_token)
        return page_to_proto(page)

    async def GetPrivacy(self, _: account_pb2.GetPrivacyRequest, call: Call) -> account_pb2.GetPrivacyResponse:
        """Gives what the caller lets others do."""
        privacy = await self._profiles.get_privacy(call.caller.user_id)
        return account_pb2.GetPrivacyResponse(privacy=privacy_to_proto(privacy))

    async def UpdatePrivacy(
        self, request: account_pb2.UpdatePrivacyRequest, call: Call
    ) -> account_pb2.UpdatePrivacyResponse:
        """Changes what the caller lets others do."""
        change = privacy_change_from_proto(request)
        privacy = await self._profiles.update_privacy(call.caller.user_id, change)
        return account_pb2.UpdatePrivacyResponse(privacy=privacy_to_proto(privacy))

    async def BlockUser(self, request: account_pb2.BlockUserRequest, call: Call) -> account_pb2.BlockUserResponse:
        """Bars a user from the caller."""
        await self._blocks.block(call.caller.user_id, request.user_id)
        return account_pb2.BlockUserResponse()

    async def UnblockUser(self, request: account_pb2.UnblockUserRequest, call: Call) -> account_pb2.UnblockUserResponse:
        """Takes a block back."""
        await self._blocks.unblock(call.caller.user_id, request.user_id)
        return account_pb2.UnblockUserResponse()

    async def ListBlocked(self, request: account_pb2.ListBlockedRequest, call: Call) -> account_pb2.ListBlockedResponse:
        """Whom the caller has blocked."""
        size = request.page_size or BLOCKED_PAGE
        after = decode_page_token(BLOCKED, request.page_token, ID_PATTERN)
        found = await self._blocks.list_blocked(call.caller.user_id, after, size + 1)
        return account_pb2.ListBlockedResponse(
            user_ids=found[:size],
            next_page_token=encode_page_token(BLOCKED, found[size - 1]) if len(found) > size else "",
        )

    async def ExportAccount(
        self, _: account_pb2.ExportAccountRequest, call: Call
    ) -> AsyncIterator[account_pb2.ExportAccountResponse]:
        """Stream an archive of everything kept about the caller. Raises RateLimited."""
        async with aclosing(self._export.stream(call.caller)) as chunks:
            async for chunk in chunks:
                yield account_pb2.ExportAccountResponse(chunk=chunk)


def _age_key(device: Device) -> str:
    """Where a device stands among the others: by age."""
    return f"{device.created_ms:015d}:{device.device_id}"


def client_address(call: Call) -> str:
    """The address a call comes from, without its port: the one the door saw, when it came through the door.

    Envoy puts the address it saw last into `x-forwarded-for`. Who reaches our port without passing it could write
    anything there, and so escape the bound of tries by address, but not the one by login name.
    """
    seen = call.metadata.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return seen or call.peer.rpartition(":")[0] or call.peer

"""AccountService: sign-in, profiles, devices, blocks, privacy, and the end and export of an account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.blocks import BlockService
from chat_service.accounts.devices import Device
from chat_service.accounts.profiles import ProfileService
from chat_service.model.media import MediaCatalog
from chat_service.servicers.account_export import AccountExport
from chat_service.servicers.dependencies import claim_picture
from chat_service.wire import positions
from chat_service.wire.account import (
    device_from_proto,
    device_to_proto,
    first_device_from_proto,
    privacy_change_from_proto,
    privacy_to_proto,
    profile_change_from_proto,
    profile_to_proto,
    session_to_proto,
)
from parley.chat.v1 import account_pb2
from servicekit import audit
from servicekit.page_tokens import ID_POSITION, decode_page_token, next_page_token
from servicekit.rpc import Call

OPEN_METHODS: Final = frozenset({"Register", "Login", "RefreshToken"})
# A signed-out device may repeat these calls: after an interruption streams may be open or an account partly deleted.
# DeleteAccount checks the device itself unless the deletion has begun.
ADMISSION_EXEMPT: Final = frozenset({"Logout", "DeleteAccount"})
DEFAULT_SEARCH_PAGE: Final = 20
DEFAULT_DEVICES_PAGE: Final = 50
DEFAULT_BLOCKED_PAGE: Final = 50
# The part of an IPv6 address that names the network of a client.
CLIENT_PREFIX_BITS: Final = 64


class AccountServicer:
    """Serves AccountService."""

    def __init__(
        self,
        accounts: Accounts,
        profiles: ProfileService,
        blocks: BlockService,
        export: AccountExport,
        catalog: MediaCatalog,
    ) -> None:
        self._accounts = accounts
        self._profiles = profiles
        self._blocks = blocks
        self._export = export
        self._catalog = catalog

    async def Register(self, request: account_pb2.RegisterRequest, call: Call) -> account_pb2.RegisterResponse:
        """Create an account and sign its first device in."""
        device = first_device_from_proto(request.device)
        session = await self._accounts.register(
            request.login_name, request.password, request.display_name, device, client_address(call)
        )
        return account_pb2.RegisterResponse(session=session_to_proto(session))

    async def Login(self, request: account_pb2.LoginRequest, call: Call) -> account_pb2.LoginResponse:
        """Sign a device in."""
        session = await self._accounts.login(
            request.login_name, request.password, device_from_proto(request.device), client_address(call)
        )
        return account_pb2.LoginResponse(session=session_to_proto(session))

    async def RefreshToken(self, request: account_pb2.RefreshTokenRequest, _: Call) -> account_pb2.RefreshTokenResponse:
        """Return new tokens for a refresh token."""
        session = await self._accounts.refresh(request.refresh_token)
        return account_pb2.RefreshTokenResponse(session=session_to_proto(session))

    async def Logout(self, _: account_pb2.LogoutRequest, call: Call) -> account_pb2.LogoutResponse:
        """Sign the calling device out."""
        await self._accounts.logout(call.caller)
        return account_pb2.LogoutResponse()

    async def ChangePassword(
        self, request: account_pb2.ChangePasswordRequest, call: Call
    ) -> account_pb2.ChangePasswordResponse:
        """Change the password and sign all other devices out."""
        await self._accounts.change_password(
            call.caller, request.old_password, request.new_password, client_address(call)
        )
        return account_pb2.ChangePasswordResponse()

    async def GetProfile(self, request: account_pb2.GetProfileRequest, call: Call) -> account_pb2.GetProfileResponse:
        """Return the profile of a user, by default the caller's own."""
        profile = await self._profiles.get_profile(request.user_id or call.caller.user_id)
        return account_pb2.GetProfileResponse(profile=profile_to_proto(profile))

    async def UpdateProfile(
        self, request: account_pb2.UpdateProfileRequest, call: Call
    ) -> account_pb2.UpdateProfileResponse:
        """Change the caller's profile."""
        change = profile_change_from_proto(request)
        await claim_picture(self._catalog, call.caller.user_id, request.picture_media_id)
        profile = await self._profiles.update_profile(call.caller.user_id, change)
        return account_pb2.UpdateProfileResponse(profile=profile_to_proto(profile))

    async def SearchUsers(self, request: account_pb2.SearchUsersRequest, _: Call) -> account_pb2.SearchUsersResponse:
        """Return the users with a name that begins with the query, in order of login name."""
        size = request.page_size or DEFAULT_SEARCH_PAGE
        after = decode_page_token(request, positions.LOGIN_NAME)
        found = await self._profiles.search_profiles(request.query, after, size + 1)
        return account_pb2.SearchUsersResponse(
            profiles=[profile_to_proto(profile) for profile in found[:size]],
            next_page_token=next_page_token(request, found, size, lambda profile: profile.login_name),
        )

    async def ListDevices(self, request: account_pb2.ListDevicesRequest, call: Call) -> account_pb2.ListDevicesResponse:
        """Return the devices of the caller's account, oldest first."""
        size = request.page_size or DEFAULT_DEVICES_PAGE
        after = decode_page_token(request, positions.DEVICE_AGE)
        devices = await self._accounts.list_devices(call.caller.user_id)
        found = [device for device in devices if _age_key(device) > after]
        return account_pb2.ListDevicesResponse(
            devices=[device_to_proto(device, call.caller.device_id) for device in found[:size]],
            next_page_token=next_page_token(request, found, size, _age_key),
        )

    async def RevokeDevice(
        self, request: account_pb2.RevokeDeviceRequest, call: Call
    ) -> account_pb2.RevokeDeviceResponse:
        """Sign a device of the caller's account out."""
        await self._accounts.revoke_device(call.caller.user_id, request.device_id)
        return account_pb2.RevokeDeviceResponse()

    async def BlockUser(self, request: account_pb2.BlockUserRequest, call: Call) -> account_pb2.BlockUserResponse:
        """Block a user for the caller."""
        await self._blocks.block(call.caller.user_id, request.user_id)
        return account_pb2.BlockUserResponse()

    async def UnblockUser(self, request: account_pb2.UnblockUserRequest, call: Call) -> account_pb2.UnblockUserResponse:
        """Remove a block."""
        await self._blocks.unblock(call.caller.user_id, request.user_id)
        return account_pb2.UnblockUserResponse()

    async def ListBlocked(self, request: account_pb2.ListBlockedRequest, call: Call) -> account_pb2.ListBlockedResponse:
        """Return the ids of the users the caller blocks, in order of id."""
        size = request.page_size or DEFAULT_BLOCKED_PAGE
        after = decode_page_token(request, ID_POSITION)
        found = await self._blocks.list_blocked(call.caller.user_id, after, size + 1)
        return account_pb2.ListBlockedResponse(
            user_ids=found[:size], next_page_token=next_page_token(request, found, size, str)
        )

    async def GetPrivacy(self, _: account_pb2.GetPrivacyRequest, call: Call) -> account_pb2.GetPrivacyResponse:
        """Return the caller's privacy settings."""
        privacy = await self._profiles.get_privacy(call.caller.user_id)
        return account_pb2.GetPrivacyResponse(privacy=privacy_to_proto(privacy))

    async def UpdatePrivacy(
        self, request: account_pb2.UpdatePrivacyRequest, call: Call
    ) -> account_pb2.UpdatePrivacyResponse:
        """Change the caller's privacy settings."""
        change = privacy_change_from_proto(request)
        privacy = await self._profiles.update_privacy(call.caller.user_id, change)
        return account_pb2.UpdatePrivacyResponse(privacy=privacy_to_proto(privacy))

    async def DeleteAccount(
        self, request: account_pb2.DeleteAccountRequest, call: Call
    ) -> account_pb2.DeleteAccountResponse:
        """Delete the caller's account."""
        await self._accounts.delete_account(call.caller, request.password, client_address(call))
        return account_pb2.DeleteAccountResponse()

    async def ExportAccount(
        self, _: account_pb2.ExportAccountRequest, call: Call
    ) -> AsyncIterator[account_pb2.ExportAccountResponse]:
        """Stream an archive of all data kept about the caller. Raise RateLimited, ServiceUnavailable."""
        async with aclosing(self._export.stream(call.caller)) as chunks:
            async for chunk in chunks:
                yield account_pb2.ExportAccountResponse(chunk=chunk)


def _age_key(device: Device) -> str:
    """Return the sort key of a device, by age: a position of form DEVICE_AGE."""
    return f"{device.created_ms:015d}:{device.device_id}"


def client_address(call: Call) -> str:
    """Return the address a call comes from, without its port.

    An IPv6 address is returned as its network of 64 bits, because one client has a whole network. A client that forges
    the address evades the limit of sign-in attempts by address, but not the limit by login name.
    """
    return _network_of(audit.client_address(call.metadata, call.peer))


def _network_of(address: str) -> str:
    """Return an IPv6 address as its network of 64 bits; other text unchanged."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return address
    return str(parsed.ipv4_mapped or ip_network((parsed, CLIENT_PREFIX_BITS), strict=False))

"""The calls of AccountService about signing in and out, and about devices."""

from __future__ import annotations

import re
from typing import Final

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.device import Device
from chat_service.wire.account import device_from_proto, device_to_proto, first_device_from_proto, session_to_proto
from chat_service.wire.conversations import decode_page_token, encode_page_token
from parley.chat.v1 import account_pb2
from servicekit.rpc import Call

DEVICES_PAGE: Final = 50
# The kind of page tokens, and the places they lead to.
DEVICE: Final = "device"
AGE_KEY_PATTERN: Final = re.compile(r"[0-9]{15}:[0-9a-f]{32}")


class SignInCalls:
    """Signing in and out."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

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

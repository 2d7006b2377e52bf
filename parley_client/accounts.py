"""Accounts: signing up, in and out; profiles, devices and blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from parley.chat.v1 import account_pb2
from parley.chat.v1.account_pb2 import Device, DeviceDescription, Privacy, Profile
from parley_client.calls import AuthenticatedCalls
from parley_client.errors import AlreadyExists, DoorUnreachable, NotFound, SignedOut, TryLater
from parley_client.session import Session
from parley_client.tokens import TokenSource


class Accounts:
    """The account of the signed-in user, and searches for other users. Every method raises ParleyError."""

    def __init__(self, calls: AuthenticatedCalls, tokens: TokenSource) -> None:
        self._calls = calls
        self._tokens = tokens

    async def register(
        self, login_name: str, password: str, *, display_name: str = "", device_name: str = ""
    ) -> Session:
        """Create an account and sign this device in. Raises AlreadyExists if the name is taken."""
        request = account_pb2.RegisterRequest(
            login_name=login_name,
            password=password,
            display_name=display_name,
            device=_description(device_name),
        )
        try:
            response = await self._calls.call_without_token(lambda channel: channel.accounts.Register, request)
        except TryLater as error:
            if error.reason or isinstance(error, DoorUnreachable):
                raise
            return await self._retry_register(request)
        return self._tokens.store_session(response.session, login_name.lower())

    async def _retry_register(self, request: account_pb2.RegisterRequest) -> Session:
        """Register again after a lost response; if the first attempt created the account, sign in to it."""
        try:
            response = await self._calls.call_without_token(lambda channel: channel.accounts.Register, request)
        except AlreadyExists:
            return await self.login(request.login_name, request.password, device_name=request.device.name)
        return self._tokens.store_session(response.session, request.login_name.lower())

    async def login(self, login_name: str, password: str, *, device_name: str = "", device_id: str = "") -> Session:
        """Sign in as `device_id`, or as a new device. Raises Unauthenticated if name or password are wrong."""
        device = _description(device_name, device_id)
        request = account_pb2.LoginRequest(login_name=login_name, password=password, device=device)
        response = await self._calls.call_without_token(lambda channel: channel.accounts.Login, request)
        return self._tokens.store_session(response.session, login_name.lower())

    async def refresh(self) -> Session:
        """Renew the access token now. Calls and devices renew it by themselves before it expires."""
        return await self._tokens.renew_token(self._tokens.active_session.access_token)

    async def logout(self) -> None:
        """Sign this device out at the server and remove the session. Succeeds if the server signed it out already."""
        with suppress(SignedOut):
            await self._calls.call(lambda channel: channel.accounts.Logout, account_pb2.LogoutRequest())
        self._tokens.sign_out()

    async def change_password(self, old: str, new: str) -> None:
        """Set a password of 8 to 256 bytes and sign out all other devices. Raises Unauthenticated if `old` is wrong."""
        request = account_pb2.ChangePasswordRequest(old_password=old, new_password=new)
        await self._calls.call(lambda channel: channel.accounts.ChangePassword, request)

    async def delete_account(self, password: str) -> None:
        """Delete the account permanently. Raises Unauthenticated if the password is wrong."""
        request = account_pb2.DeleteAccountRequest(password=password)
        await self._calls.call(lambda channel: channel.accounts.DeleteAccount, request)
        self._tokens.sign_out()

    async def get_profile(self, user_id: str = "") -> Profile:
        """Return the profile of a user; an empty id means the caller. Raises NotFound."""
        request = account_pb2.GetProfileRequest(user_id=user_id)
        return (await self._calls.call(lambda channel: channel.accounts.GetProfile, request)).profile

    async def update_profile(self, *, display_name: str | None = None, about: str | None = None) -> Profile:
        """Change the caller's profile; a field that is None keeps its value."""
        request = account_pb2.UpdateProfileRequest(display_name=display_name, about=about)
        return (await self._calls.call(lambda channel: channel.accounts.UpdateProfile, request)).profile

    async def search(self, query: str) -> AsyncIterator[Profile]:
        """Yield the users whose login name, or a word of whose display name, begins with `query`."""
        request = account_pb2.SearchUsersRequest(query=query)
        while True:
            response = await self._calls.call(lambda channel: channel.accounts.SearchUsers, request)
            for profile in response.profiles:
                yield profile
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def find(self, login_name: str) -> Profile:
        """Return the user with this login name. Raises NotFound."""
        async for profile in self.search(login_name):
            if profile.login_name == login_name.lower():
                return profile
        raise NotFound(f"no user is called {login_name}", code="NOT_FOUND", reason="USER_NOT_FOUND")

    async def list_devices(self) -> list[Device]:
        """Return the devices of the account, oldest first; one page of at most 50."""
        response = await self._calls.call(
            lambda channel: channel.accounts.ListDevices, account_pb2.ListDevicesRequest(page_size=50)
        )
        return list(response.devices)

    async def revoke_device(self, device_id: str) -> None:
        """Sign another device of the account out immediately. Raises NotFound."""
        request = account_pb2.RevokeDeviceRequest(device_id=device_id)
        await self._calls.call(lambda channel: channel.accounts.RevokeDevice, request)

    async def block(self, user_id: str) -> None:
        """Block a user from direct chats, from adding the caller to groups, and from the caller's presence."""
        request = account_pb2.BlockUserRequest(user_id=user_id)
        await self._calls.call(lambda channel: channel.accounts.BlockUser, request)

    async def unblock(self, user_id: str) -> None:
        """Remove a block."""
        request = account_pb2.UnblockUserRequest(user_id=user_id)
        await self._calls.call(lambda channel: channel.accounts.UnblockUser, request)

    async def list_blocked(self) -> AsyncIterator[str]:
        """Yield the ids of the users whom the caller has blocked."""
        request = account_pb2.ListBlockedRequest(page_size=100)
        while True:
            response = await self._calls.call(lambda channel: channel.accounts.ListBlocked, request)
            for user_id in response.user_ids:
                yield user_id
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    async def get_privacy(self) -> Privacy:
        """Return the caller's privacy settings."""
        return (
            await self._calls.call(lambda channel: channel.accounts.GetPrivacy, account_pb2.GetPrivacyRequest())
        ).privacy

    async def update_privacy(
        self,
        *,
        who_may_add: account_pb2.WhoMayAdd.ValueType = account_pb2.WHO_MAY_ADD_UNSPECIFIED,
        found_by_search: bool | None = None,
    ) -> Privacy:
        """Change the caller's privacy settings; a setting that is not given keeps its value."""
        request = account_pb2.UpdatePrivacyRequest(who_may_add=who_may_add, found_by_search=found_by_search)
        return (await self._calls.call(lambda channel: channel.accounts.UpdatePrivacy, request)).privacy

    async def export(self) -> AsyncIterator[bytes]:
        """Yield a ZIP of JSON files with all stored data of the caller, in chunks of at most 64 KiB."""
        parts = self._calls.stream(lambda channel: channel.accounts.ExportAccount, account_pb2.ExportAccountRequest())
        async for part in parts:
            yield part.chunk


def _description(name: str, device_id: str = "") -> DeviceDescription:
    return DeviceDescription(name=name, platform=account_pb2.PLATFORM_DESKTOP, device_id=device_id)

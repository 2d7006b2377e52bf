"""Accounts: signing up, in and out; profiles, devices and blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from parley.chat.v1 import account_pb2
from parley.chat.v1.account_pb2 import Device, DeviceDescription, Privacy, Profile
from parley_client.calls import Calls
from parley_client.errors import AlreadyExists, DoorUnreachable, NotFound, SignedOut, TryLater
from parley_client.session import Session
from parley_client.tokens import Tokens


class Accounts:
    """The account of the client, and what it may see of others. Every method raises ParleyError."""

    def __init__(self, calls: Calls, tokens: Tokens) -> None:
        self._calls = calls
        self._tokens = tokens

    async def register(
        self, login_name: str, password: str, *, display_name: str = "", device_name: str = ""
    ) -> Session:
        """Make an account and sign this device in. AlreadyExists if the name is taken."""
        request = account_pb2.RegisterRequest(
            login_name=login_name,
            password=password,
            display_name=display_name,
            device=_description(device_name),
        )
        try:
            answer = await self._calls.open(lambda door: door.accounts.Register, request)
        except TryLater as error:
            if error.reason or isinstance(error, DoorUnreachable):
                raise
            return await self._register_again(request)
        return self._tokens.keep(answer.session, login_name.lower())

    async def _register_again(self, request: account_pb2.RegisterRequest) -> Session:
        """The answer got lost on the way: if the account was made, its password is ours."""
        try:
            answer = await self._calls.open(lambda door: door.accounts.Register, request)
        except AlreadyExists:
            return await self.login(request.login_name, request.password, device_name=request.device.name)
        return self._tokens.keep(answer.session, request.login_name.lower())

    async def login(self, login_name: str, password: str, *, device_name: str = "", device_id: str = "") -> Session:
        """Sign this device in; `device_id` keeps it the device it was. Unauthenticated: name or password."""
        device = _description(device_name, device_id)
        request = account_pb2.LoginRequest(login_name=login_name, password=password, device=device)
        answer = await self._calls.open(lambda door: door.accounts.Login, request)
        return self._tokens.keep(answer.session, login_name.lower())

    async def refresh(self) -> Session:
        """Get a new access token now; usually nobody needs to ask."""
        return await self._tokens.renew(self._tokens.session.access_token)

    async def logout(self) -> None:
        """Sign this device out, here and at the server; fine if the server did so before."""
        with suppress(SignedOut):
            await self._calls.ask(lambda door: door.accounts.Logout, account_pb2.LogoutRequest())
        self._tokens.forget()

    async def change_password(self, old: str, new: str) -> None:
        """Set another password, 8 to 256 bytes; all other devices are signed out. Unauthenticated: `old` is wrong."""
        request = account_pb2.ChangePasswordRequest(old_password=old, new_password=new)
        await self._calls.ask(lambda door: door.accounts.ChangePassword, request)

    async def delete_account(self, password: str) -> None:
        """End the account, for good. Unauthenticated: the password is wrong."""
        request = account_pb2.DeleteAccountRequest(password=password)
        await self._calls.ask(lambda door: door.accounts.DeleteAccount, request)
        self._tokens.forget()

    async def profile(self, user_id: str = "") -> Profile:
        """The profile of a user; empty: the own one. NotFound."""
        request = account_pb2.GetProfileRequest(user_id=user_id)
        return (await self._calls.ask(lambda door: door.accounts.GetProfile, request)).profile

    async def update_profile(self, *, display_name: str | None = None, about: str | None = None) -> Profile:
        """Change the own profile; None stays."""
        request = account_pb2.UpdateProfileRequest(display_name=display_name, about=about)
        return (await self._calls.ask(lambda door: door.accounts.UpdateProfile, request)).profile

    async def search(self, query: str) -> AsyncIterator[Profile]:
        """The users whose login name, or a word of whose display name, begins with `query`."""
        request = account_pb2.SearchUsersRequest(query=query)
        while True:
            answer = await self._calls.ask(lambda door: door.accounts.SearchUsers, request)
            for profile in answer.profiles:
                yield profile
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def find(self, login_name: str) -> Profile:
        """The user with this login name. NotFound."""
        async for profile in self.search(login_name):
            if profile.login_name == login_name.lower():
                return profile
        raise NotFound(f"no user is called {login_name}", code="NOT_FOUND", reason="USER_NOT_FOUND")

    async def devices(self) -> list[Device]:
        """The devices of the account, oldest first; there are at most a few dozen."""
        answer = await self._calls.ask(
            lambda door: door.accounts.ListDevices, account_pb2.ListDevicesRequest(page_size=50)
        )
        return list(answer.devices)

    async def revoke(self, device_id: str) -> None:
        """Sign another device of the account out, at once. NotFound."""
        request = account_pb2.RevokeDeviceRequest(device_id=device_id)
        await self._calls.ask(lambda door: door.accounts.RevokeDevice, request)

    async def block(self, user_id: str) -> None:
        """Bar a user from direct chats, from adding the caller, and from the caller's presence."""
        request = account_pb2.BlockUserRequest(user_id=user_id)
        await self._calls.ask(lambda door: door.accounts.BlockUser, request)

    async def unblock(self, user_id: str) -> None:
        """Take a block back."""
        request = account_pb2.UnblockUserRequest(user_id=user_id)
        await self._calls.ask(lambda door: door.accounts.UnblockUser, request)

    async def blocked(self) -> AsyncIterator[str]:
        """The ids of the users whom the caller has blocked."""
        request = account_pb2.ListBlockedRequest(page_size=100)
        while True:
            answer = await self._calls.ask(lambda door: door.accounts.ListBlocked, request)
            for user_id in answer.user_ids:
                yield user_id
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def privacy(self) -> Privacy:
        """What the caller lets others do."""
        return (await self._calls.ask(lambda door: door.accounts.GetPrivacy, account_pb2.GetPrivacyRequest())).privacy

    async def update_privacy(
        self,
        *,
        who_may_add: account_pb2.WhoMayAdd.ValueType = account_pb2.WHO_MAY_ADD_UNSPECIFIED,
        found_by_search: bool | None = None,
    ) -> Privacy:
        """Change what the caller lets others do; what is not given stays."""
        request = account_pb2.UpdatePrivacyRequest(who_may_add=who_may_add, found_by_search=found_by_search)
        return (await self._calls.ask(lambda door: door.accounts.UpdatePrivacy, request)).privacy

    async def export(self) -> AsyncIterator[bytes]:
        """An archive (ZIP of JSON files) of everything kept about the caller, in parts of at most 64 KiB."""
        parts = self._calls.stream(lambda door: door.accounts.ExportAccount, account_pb2.ExportAccountRequest())
        async for part in parts:
            yield part.chunk


def _description(name: str, device_id: str = "") -> DeviceDescription:
    return DeviceDescription(name=name, platform=account_pb2.PLATFORM_DESKTOP, device_id=device_id)

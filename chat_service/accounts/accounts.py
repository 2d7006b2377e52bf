"""Accounts: who registers, who signs in, and what users find out about each other.

An account is two documents, and a crash may come between. The account is made first, under a random id that nobody
knows, and then claims its login name, which decides: whoever claims it has it. A crash before the claim leaves a
document that nothing leads to, and blocks no name; had the name come first, it would be taken by nobody for ever.
Listing for search comes last and is made up for at the next Login.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from chat_service.accounts.account import Account, Profile, ProfileChange, tidy
from chat_service.accounts.attempts import Allowance, Attempts
from chat_service.accounts.device import DeviceDescription
from chat_service.accounts.errors import CredentialsInvalid, DeviceRevoked, LoginNameTaken, SignInDisabled
from chat_service.accounts.passwords import Passwords
from chat_service.accounts.ports import AccountStore, DeviceStore, HomeOf, OnSignedOut, Signer
from chat_service.accounts.search import Query, search_keys
from chat_service.accounts.sessions import Session, Sessions
from chat_service.errors import Invalid, UserNotFound
from servicekit.auth import Claims
from servicekit.clock import Clock
from servicekit.failure import Violation

DEFAULT_PAGE = 20


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """The bounds of accounts. Tries are counted by each server for itself.

    `sign_in_here` is False where another issuer signs users in: Register and Login are refused, and a device we do
    not know is taken to be signed in.
    """

    max_devices: int = 10
    tries_per_peer: Allowance = field(default=Allowance(rate=1.0, burst=60))
    tries_per_name: Allowance = field(default=Allowance(rate=0.1, burst=10))
    sign_in_here: bool = True


@dataclass(frozen=True, slots=True)
class ProfilePage:
    """Some users, and the token for more; empty: there are no more."""

    profiles: tuple[Profile, ...]
    next_page_token: str = ""


class Accounts:
    """All accounts of the deployment. Every method may raise StoreUnavailable."""

    def __init__(
        self,
        store: AccountStore,
        devices: DeviceStore,
        passwords: Passwords,
        signer: Signer,
        clock: Clock,
        *,
        home_of: HomeOf,
        on_signed_out: OnSignedOut,
        settings: AccountSettings | None = None,
    ) -> None:
        self._settings = settings or AccountSettings()
        self._store = store
        self._passwords = passwords
        self._clock = clock
        self._sessions = Sessions(
            devices,
            signer,
            clock,
            home_of=home_of,
            on_signed_out=on_signed_out,
            max_devices=self._settings.max_devices,
        )
        self._by_peer = Attempts(self._settings.tries_per_peer, clock)
        self._by_name = Attempts(self._settings.tries_per_name, clock)

    async def register(
        self, login_name: str, password: str, display_name: str, device: DeviceDescription, peer: str
    ) -> Session:
        """Makes an account and signs its first device in. Raises LoginNameTaken, RateLimited, SignInDisabled."""
        self._check_sign_in_here()
        self._by_peer.take(peer)
        login_name = login_name.lower()
        if await self._store.owner_of(login_name) is not None:
            raise LoginNameTaken("the login name belongs to another account")
        profile = Profile(uuid.uuid4().hex, login_name, tidy(display_name) or login_name)
        account = Account(profile, await self._passwords.hashed(password), self._clock.now_ms())
        await self._store.add(account)
        if not await self._store.claim(login_name, account.user_id):
            await self._store.drop(account.user_id)
            raise LoginNameTaken("the login name belongs to another account")
        await self._list(account)
        return await self._sessions.sign_in(account.user_id, replace(device, device_id=""))

    async def login(self, login_name: str, password: str, device: DeviceDescription, peer: str) -> Session:
        """Signs a device in.

        Raises CredentialsInvalid, as late for a name that does not exist, DeviceNotFound, TooManyDevices,
        RateLimited, SignInDisabled.
        """
        self._check_sign_in_here()
        login_name = login_name.lower()
        self._by_peer.take(peer)
        self._by_name.take(login_name)
        account = await self._named(login_name)
        right = await self._passwords.matches(password, account.password_hash if account else None)
        if account is None or not right:
            raise CredentialsInvalid("login name or password is wrong")
        await self._mend(account, password)
        return await self._sessions.sign_in(account.user_id, device)

    async def refresh(self, refresh_token: str) -> Session:
        """New tokens for a refresh token. Raises RefreshTokenInvalid."""
        return await self._sessions.refresh(refresh_token)

    async def logout(self, user_id: str, device_id: str) -> None:
        """Signs a device out and ends its streams; may be repeated."""
        await self._sessions.sign_out(user_id, device_id)

    async def device_is_signed_in(self, user_id: str, device_id: str) -> bool:
        """Whether a device may still act; a token stays good for a while after its device was signed out."""
        known = await self._sessions.is_signed_in(user_id, device_id)
        return known if known is not None else not self._settings.sign_in_here

    async def admit(self, claims: Claims) -> None:
        """Raises DeviceRevoked for a device that was signed out."""
        if not await self.device_is_signed_in(claims.user_id, claims.device_id):
            raise DeviceRevoked("the device was signed out")

    async def profile(self, user_id: str) -> Profile:
        """What others see of a user. Raises UserNotFound."""
        account = await self._store.account(user_id)
        if account is None:
            raise UserNotFound("no such user")
        return account.profile

    async def change_profile(self, user_id: str, change: ProfileChange) -> Profile:
        """Changes the caller's profile. Raises UserNotFound, Invalid for a name of nothing visible."""
        if change.display_name is not None:
            change = await self._named_anew(user_id, change, change.display_name)
        profile = await self._store.change_profile(user_id, change)
        if profile is None:
            raise UserNotFound("no such user")
        return profile

    async def search(self, text: str, page_size: int, page_token: str) -> ProfilePage:
        """Users by the beginning of a name, in order of login name; `page_size` 0 is 20. Raises PageTokenInvalid."""
        query = Query.of(text)
        after = query.read_token(page_token)
        if not query.text:
            return ProfilePage(())
        size = page_size or DEFAULT_PAGE
        found = await self._store.profiles_matching(query, after, size + 1)
        page = tuple(found[:size])
        return ProfilePage(page, query.token_after(page[-1].login_name) if len(found) > size else "")

    async def users_exist(self, user_ids: Collection[str]) -> set[str]:
        """Those of `user_ids` (32 hex digits each) that are users."""
        return await self._store.existing(user_ids)

    async def _named(self, login_name: str) -> Account | None:
        user_id = await self._store.owner_of(login_name)
        return None if user_id is None else await self._store.account(user_id)

    async def _named_anew(self, user_id: str, change: ProfileChange, display_name: str) -> ProfileChange:
        tidied = tidy(display_name)
        if not tidied:
            violation = Violation("display_name", "has nothing visible")
            raise Invalid("the display name has nothing visible", violations=(violation,))
        login_name = (await self.profile(user_id)).login_name
        return replace(change, display_name=tidied, search_keys=search_keys(login_name, tidied))

    async def _mend(self, account: Account, password: str) -> None:
        """Makes up for a Register that was cut short, and for a hash of weaker times."""
        if not account.listed:
            await self._list(account)
        if self._passwords.is_outdated(account.password_hash):
            stronger = await self._passwords.hashed(password)
            await self._store.set_password_hash(account.user_id, account.password_hash, stronger)

    async def _list(self, account: Account) -> None:
        keys = search_keys(account.profile.login_name, account.profile.display_name)
        await self._store.list_for_search(account.user_id, keys)

    def _check_sign_in_here(self) -> None:
        if not self._settings.sign_in_here:
            raise SignInDisabled("users of this deployment sign in elsewhere")

"""Accounts: who registers, who signs in with which devices, and who is let in.

An account is two documents, and a crash may come between. The account is made first, under a random id that nobody
knows, and then claims its login name, which decides: whoever claims it has it. A crash before the claim leaves a
document that nothing leads to, and blocks no name; had the name come first, it would be taken by nobody for ever.
Listing for search comes last and is made up for at the next Login.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from chat_service.accounts.account import Account, Profile, normalize_display_name
from chat_service.accounts.deletion import PURGE_DELAY_S, AccountDeletion, LeaveGroups, PurgeUser
from chat_service.accounts.devices import MAX_REMEMBERED_DEVICES, Device, DeviceDescription
from chat_service.accounts.errors import CredentialsInvalid, DeviceRevoked, LoginNameTaken, SignInDisabled
from chat_service.accounts.jit_provisioning import JitProvisioner
from chat_service.accounts.password_authentication import PasswordAuthenticator
from chat_service.accounts.passwords import PasswordHasherPool
from chat_service.accounts.ports import AccountStore, AttemptCounter, DeviceStore, HomeOf, OnSignedOut, Signer
from chat_service.accounts.sign_in_sessions import SignInSession, SignInSessions
from chat_service.errors import RateLimited
from servicekit.auth import Claims
from servicekit.clock import Clock
from servicekit.rate_limiter import RateLimit, RateLimiter

# Where another issuer signs in, its tokens bring back whom nobody remembers as signed out.
MAX_REMEMBERED_EXTERNAL_DEVICES = 100
# Addresses whose attempts are counted.
MAX_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """The bounds of accounts. Tries by peer are counted by each server for itself, those by name by all together.

    `sign_in_here` is False where another issuer signs users in: Register and Login are refused, and a user or a
    device we do not know is made known at first sight.
    """

    max_devices: int = 10
    attempts_per_address: RateLimit = field(default=RateLimit(rate=1.0, burst=60))
    attempts_per_name: RateLimit = field(default=RateLimit(rate=0.1, burst=10))
    sign_in_here: bool = True
    # Seconds after which the last traces of a deleted account go.
    purge_delay_s: float = PURGE_DELAY_S


class Accounts:
    """All accounts of the deployment. Every method may raise StoreUnavailable."""

    def __init__(
        self,
        store: AccountStore,
        devices: DeviceStore,
        attempts: AttemptCounter,
        passwords: PasswordHasherPool,
        signer: Signer,
        clock: Clock,
        *,
        home_of: HomeOf,
        on_signed_out: OnSignedOut,
        leave_groups: LeaveGroups,
        purges: Sequence[PurgeUser] = (),
        settings: AccountSettings | None = None,
    ) -> None:
        settings = settings or AccountSettings()
        self._sign_in_here = settings.sign_in_here
        self._store = store
        self._clock = clock
        self._authenticator = PasswordAuthenticator(
            store, devices, passwords, attempts, clock, settings.attempts_per_name
        )
        self._sessions = SignInSessions(
            devices,
            signer,
            clock,
            home_of=home_of,
            on_signed_out=on_signed_out,
            max_devices=settings.max_devices,
            max_remembered=MAX_REMEMBERED_DEVICES if settings.sign_in_here else MAX_REMEMBERED_EXTERNAL_DEVICES,
        )
        self._provisioner = JitProvisioner(store, self._sessions, clock)
        self.deletion = AccountDeletion(
            store, devices, self._sessions, clock, leave_groups, purges, purge_delay_s=settings.purge_delay_s
        )
        self._attempts_by_address = RateLimiter(settings.attempts_per_address, clock, MAX_ADDRESSES)

    async def register(
        self, login_name: str, password: str, display_name: str, device: DeviceDescription, address: str
    ) -> SignInSession:
        """Makes an account and signs its first device in.

        Raises LoginNameTaken, PasswordTooWeak, RateLimited, SignInDisabled.
        """
        self._check_sign_in_here()
        self._count_attempt(address)
        login_name = login_name.lower()
        if await self._store.find_user_id(login_name) is not None:
            raise LoginNameTaken("the login name belongs to another account")
        profile = Profile(uuid.uuid4().hex, login_name, normalize_display_name(display_name) or login_name)
        account = Account(
            profile, await self._authenticator.hash_new_password(login_name, password), self._clock.now_ms()
        )
        await self._store.insert(account)
        if not await self._store.claim_login_name(login_name, account.user_id):
            await self._store.delete_unclaimed(account.user_id)
            raise LoginNameTaken("the login name belongs to another account")
        await self._store.list_for_search(account.user_id, account.search_keys)
        return await self._sessions.sign_in(account.user_id, replace(device, device_id=""))

    async def login(self, login_name: str, password: str, device: DeviceDescription, address: str) -> SignInSession:
        """Signs a device in.

        Raises CredentialsInvalid, as late for a name that does not exist, DeviceNotFound, TooManyDevices,
        RateLimited, SignInDisabled.
        """
        self._check_sign_in_here()
        self._count_attempt(address)
        account = await self._authenticator.authenticate(login_name.lower(), password, device.device_id)
        if not account.listed:
            # A Register was cut short.
            await self._store.list_for_search(account.user_id, account.search_keys)
        await self._authenticator.rehash_if_outdated(account, password)
        session = await self._sessions.sign_in(account.user_id, device)
        if not await self._authenticator.still_valid(account, password):
            # Whoever changed it just now signed out the devices there were then, and wanted this one out as well.
            await self._sessions.sign_out(account.user_id, session.device_id)
            raise CredentialsInvalid("login name or password is wrong")
        return session

    async def refresh(self, refresh_token: str) -> SignInSession:
        """New tokens for a refresh token. Raises RefreshTokenInvalid, SignInDisabled."""
        self._check_sign_in_here()
        return await self._sessions.refresh(refresh_token)

    async def logout(self, caller: Claims) -> None:
        """Signs the calling device out and ends its streams; may be repeated."""
        if not self._sign_in_here:
            # So that it is remembered as signed out.
            with suppress(DeviceRevoked):
                await self._provisioner.provision(caller)
        await self._sessions.sign_out(caller.user_id, caller.device_id)

    async def change_password(self, caller: Claims, old: str, new: str) -> None:
        """Sets another password, then signs all devices out but the calling one; may be repeated.

        Raises CredentialsInvalid, PasswordTooWeak, RateLimited, SignInDisabled.
        """
        self._check_sign_in_here()
        await self._authenticator.change_password(caller.user_id, caller.device_id, old, new)
        await self._sessions.sign_out_others(caller.user_id, caller.device_id)

    async def delete_account(self, caller: Claims, password: str) -> None:
        """Ends the caller's account; may be repeated with the same token.

        Raises CredentialsInvalid, RateLimited, DeviceRevoked, and what keeps it from ending now: it ends later then.
        """
        account = await self._store.load(caller.user_id)
        if account is None or not account.deleting:
            await self.admit(caller)
            if self._sign_in_here:
                await self._authenticator.reauthenticate(caller.user_id, password, caller.device_id)
        await self.deletion.begin(caller.user_id)

    async def list_devices(self, user_id: str) -> tuple[Device, ...]:
        """The devices of an account that are signed in, oldest first."""
        return await self._sessions.list_active(user_id)

    async def revoke_device(self, user_id: str, device_id: str) -> None:
        """Signs a device of an account out and ends its streams; may be repeated. Raises DeviceNotFound."""
        await self._sessions.revoke_device(user_id, device_id)

    async def admit(self, claims: Claims) -> None:
        """Lets a device in, at first sight too where another issuer signs in. Raises DeviceRevoked."""
        known = await self._sessions.is_signed_in(claims.user_id, claims.device_id, claims.sign_in)
        if known is None and not self._sign_in_here:
            await self._provisioner.provision(claims)
        elif not known:
            raise DeviceRevoked("the device was signed out")

    def _count_attempt(self, address: str) -> None:
        if (wait := self._attempts_by_address.take(address)) > 0:
            raise RateLimited("too many attempts to sign in", retry_after=wait)

    def _check_sign_in_here(self) -> None:
        if not self._sign_in_here:
            raise SignInDisabled("users of this deployment sign in elsewhere")

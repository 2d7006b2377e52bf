"""Accounts: registration, sign-in and admission of devices.

An account is two documents, the account and the claim of its login name, and a crash may come between their writes.
The account is inserted first, under a random id, and then claims its login name; the first claim wins. A crash before
the claim leaves an account that nothing refers to, and the name stays free. In the other order a crash would leave a
name that no account has and none can claim. The account is listed for search last; Login repeats an interrupted
listing.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from chat_service.accounts.account import Account, Profile
from chat_service.accounts.deletion import PURGE_DELAY_S, AccountDeletion, LeaveGroups, PurgeUser
from chat_service.accounts.devices import MAX_REMEMBERED_DEVICES, Device, DeviceDescription
from chat_service.accounts.errors import CredentialsInvalid, DeviceRevoked, LoginNameTaken
from chat_service.accounts.jit_provisioning import JitProvisioner
from chat_service.accounts.password_authentication import PasswordAuthenticator
from chat_service.accounts.passwords import PasswordHasherPool
from chat_service.accounts.ports import AccountStore, AttemptCounter, DeviceStore, HomeOf, OnSignedOut, Signer
from chat_service.accounts.sign_in_sessions import SignInSession, SignInSessions
from chat_service.model.names import normalize_name
from servicekit.auth import Claims
from servicekit.clock import Clock
from servicekit.errors import Disabled, RateLimited
from servicekit.rate_limiter import RateLimit, RateLimiter

# With another issuer, a signed-out device that is no longer remembered is provisioned again by its next token, so more
# signed-out devices are remembered.
MAX_REMEMBERED_EXTERNAL_DEVICES = 100
# Addresses whose sign-in attempts one server counts at a time.
MAX_COUNTED_ADDRESSES = 10_000


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """The limits of accounts.

    Sign-in attempts by address are counted per server, attempts by login name across all servers. `sign_in_here` is
    False if another issuer signs users in: Register and Login are refused, and an unknown user or device is
    provisioned by its first call.
    """

    max_devices: int = 10
    attempts_per_address: RateLimit = field(default=RateLimit(rate=1.0, burst=60))
    attempts_per_name: RateLimit = field(default=RateLimit(rate=0.1, burst=10))
    sign_in_here: bool = True
    # Seconds from the start of a deletion to the removal of the account itself.
    purge_delay_s: float = PURGE_DELAY_S


class Accounts:
    """The accounts of the deployment. Every method may raise StoreUnavailable."""

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
        self._attempts_by_address = RateLimiter(settings.attempts_per_address, clock, MAX_COUNTED_ADDRESSES)

    async def register(
        self, login_name: str, password: str, display_name: str, device: DeviceDescription, address: str
    ) -> SignInSession:
        """Create an account and sign its first device in. `address` is the client's.

        Raise LoginNameTaken, PasswordTooWeak, RateLimited, ServerBusy, Disabled.
        """
        self._check_sign_in_here()
        self._count_attempt(address)
        login_name = login_name.lower()
        if await self._store.find_user_id(login_name) is not None:
            raise LoginNameTaken("the login name belongs to another account")
        profile = Profile(uuid.uuid4().hex, login_name, normalize_name(display_name) or login_name)
        account = Account(
            profile, await self._authenticator.hash_new_password(login_name, password, address), self._clock.now_ms()
        )
        await self._store.insert(account)
        if not await self._store.claim_login_name(login_name, account.user_id):
            await self._store.delete_unclaimed(account.user_id)
            raise LoginNameTaken("the login name belongs to another account")
        await self._store.list_for_search(account.user_id, account.search_keys)
        return await self._sessions.sign_in(account.user_id, replace(device, device_id=""))

    async def login(self, login_name: str, password: str, device: DeviceDescription, address: str) -> SignInSession:
        """Sign a device in. `address` is the client's.

        Raise CredentialsInvalid, after the same time for an unknown login name, DeviceNotFound, TooManyDevices,
        RateLimited, ServerBusy, Disabled.
        """
        self._check_sign_in_here()
        self._count_attempt(address)
        account = await self._authenticator.authenticate(login_name.lower(), password, device.device_id, address)
        if not account.listed:
            # An interrupted Register claimed the name and did not list the account.
            await self._store.list_for_search(account.user_id, account.search_keys)
        await self._authenticator.rehash_if_outdated(account, password, address)
        session = await self._sessions.sign_in(account.user_id, device)
        if not await self._authenticator.still_valid(account, password, address):
            # A change of the password signs out the devices signed in at that moment; this one signed in just after.
            await self._sessions.sign_out(account.user_id, session.device_id)
            raise CredentialsInvalid("login name or password is wrong")
        return session

    async def refresh(self, refresh_token: str) -> SignInSession:
        """Return a session with new tokens. Raise RefreshTokenInvalid, Disabled."""
        self._check_sign_in_here()
        return await self._sessions.refresh(refresh_token)

    async def logout(self, caller: Claims) -> None:
        """Sign the calling device out and end its streams. Idempotent."""
        if not self._sign_in_here:
            # Only a device that is known can be remembered as signed out.
            with suppress(DeviceRevoked):
                await self._provisioner.provision(caller)
        await self._sessions.sign_out(caller.user_id, caller.device_id)

    async def change_password(self, caller: Claims, old: str, new: str, address: str = "") -> None:
        """Change the password, then sign out all devices but the calling one. Idempotent.

        Raise CredentialsInvalid, PasswordTooWeak, RateLimited, Disabled.
        """
        self._check_sign_in_here()
        await self._authenticator.change_password(caller.user_id, caller.device_id, old, new, address)
        await self._sessions.sign_out_others(caller.user_id, caller.device_id)

    async def delete_account(self, caller: Claims, password: str, address: str = "") -> None:
        """Begin the deletion of the caller's account, which a job completes. May be repeated with the same token.

        Raise CredentialsInvalid, RateLimited, DeviceRevoked. Raise another Failure if the streams of a device could not
        be ended: the job repeats that.
        """
        account = await self._store.load(caller.user_id)
        if account is None or not account.deleting:
            await self.admit(caller)
            if self._sign_in_here:
                await self._authenticator.reauthenticate(caller.user_id, password, caller.device_id, address)
        await self.deletion.begin(caller.user_id)

    async def list_devices(self, user_id: str) -> tuple[Device, ...]:
        """Return the signed-in devices of an account, oldest first."""
        return await self._sessions.list_active(user_id)

    async def revoke_device(self, user_id: str, device_id: str) -> None:
        """Sign a device of an account out and end its streams. Idempotent. Raise DeviceNotFound."""
        await self._sessions.revoke_device(user_id, device_id)

    async def admit(self, claims: Claims) -> None:
        """Admit a device; with another issuer, provision an unknown one. Raise DeviceRevoked if it is signed out."""
        signed_in = await self._sessions.is_signed_in(claims.user_id, claims.device_id, claims.sign_in)
        if signed_in is None and not self._sign_in_here:
            await self._provisioner.provision(claims)
        elif not signed_in:
            raise DeviceRevoked("the device was signed out")

    def _count_attempt(self, address: str) -> None:
        if (wait := self._attempts_by_address.take(address)) > 0:
            raise RateLimited("sign-in attempt rate limit exceeded for this address", retry_after=wait)

    def _check_sign_in_here(self) -> None:
        if not self._sign_in_here:
            raise Disabled("users of this deployment sign in with another issuer")

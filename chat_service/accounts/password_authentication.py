"""Authentication by login name and password, with a rate limit on attempts.

Attempts are counted by login name, across all servers. A device that the account knows is counted by itself: an
attacker who uses up the attempts of a name locks out new devices only, not the devices of the user.
"""

from __future__ import annotations

from contextlib import suppress

from chat_service.accounts.account import Account
from chat_service.accounts.common_passwords import is_common
from chat_service.accounts.errors import CredentialsInvalid, PasswordTooWeak
from chat_service.accounts.passwords import PasswordHasherPool
from chat_service.accounts.ports import AccountStore, AttemptCounter, DeviceStore
from servicekit import audit
from servicekit.clock import Clock
from servicekit.errors import RateLimited, ServerBusy, StoreUnavailable
from servicekit.failure import Violation
from servicekit.rate_limiter import RateLimit


class PasswordAuthenticator:
    """Verifies and changes passwords. Every method may raise StoreUnavailable, RateLimited and ServerBusy."""

    def __init__(
        self,
        store: AccountStore,
        devices: DeviceStore,
        passwords: PasswordHasherPool,
        attempts: AttemptCounter,
        clock: Clock,
        limit: RateLimit,
    ) -> None:
        self._store = store
        self._devices = devices
        self._passwords = passwords
        self._attempts = attempts
        self._clock = clock
        self._limit = limit

    async def authenticate(self, login_name: str, password: str, device_id: str, address: str) -> Account:
        """Return the account with this name and password. `device_id` is empty for a new device.

        `address` is the client's here and below: passwords are checked for addresses in turn.

        Raise CredentialsInvalid, after the same time for an unknown login name.
        """
        user_id = await self._store.find_user_id(login_name)
        account = None if user_id is None else await self._store.load(user_id)
        if account is not None:
            audit.add_target(user=account.user_id)
        known_device = await self._known_device(account, device_id)
        return await self._verify_counted(account, login_name, password, known_device, address)

    async def reauthenticate(self, user_id: str, password: str, device_id: str, address: str) -> Account:
        """Return the account of a signed-in user if the password is right. Raise CredentialsInvalid otherwise."""
        account = await self._store.load(user_id)
        login_name = account.profile.login_name if account else ""
        return await self._verify_counted(account, login_name, password, device_id, address)

    async def still_valid(self, account: Account, password: str, address: str) -> bool:
        """Return True if the password is still valid: it may have changed since `account` was read.

        Return False if the deletion of the account has begun.
        """
        current = await self._store.load(account.user_id)
        if current is None or current.deleting:
            return False
        if current.password_hash == account.password_hash:
            return True
        return await self._passwords.verify(password, current.password_hash, address)

    async def hash_new_password(self, login_name: str, password: str, address: str, field: str = "password") -> str:
        """Return the hash of a new password, which is in this field of the request. Raise PasswordTooWeak."""
        if password.casefold() == login_name or len(set(password)) == 1:
            raise _too_weak("the password must not be the login name or one repeated character", field)
        if is_common(password):
            raise _too_weak("the password is one of the most common ones; choose another", field)
        return await self._passwords.hash(password, address)

    async def change_password(self, user_id: str, device_id: str, old: str, new: str, address: str) -> None:
        """Change the password. Idempotent: succeed if the password is `new` already.

        Raise CredentialsInvalid, PasswordTooWeak, and StoreUnavailable if the password was changed concurrently.
        """
        try:
            account = await self.reauthenticate(user_id, old, device_id, address)
        except CredentialsInvalid:
            # A repeat whose first response was lost: the new password is valid already and proves the same.
            await self.reauthenticate(user_id, new, device_id, address)
            return
        if old == new:
            raise _too_weak("the new password must differ from the old one", "new_password")
        stored = await self.hash_new_password(account.profile.login_name, new, address, "new_password")
        if not await self._store.set_password_hash(user_id, account.password_hash, stored):
            raise StoreUnavailable("the password was changed concurrently")

    async def rehash_if_outdated(self, account: Account, password: str, address: str) -> None:
        """Replace a hash made with other parameters than today's; a busy server leaves that to another sign-in."""
        if self._passwords.is_outdated(account.password_hash):
            with suppress(ServerBusy):
                password_hash = await self._passwords.hash(password, address)
                await self._store.set_password_hash(account.user_id, account.password_hash, password_hash)

    async def _verify_counted(
        self, account: Account | None, login_name: str, password: str, device_id: str, address: str
    ) -> Account:
        """Return the account if the password is right. Raise CredentialsInvalid otherwise.

        Only failed attempts use up the rate limit: a right password is refunded, and so is one that was not checked.
        """
        key = f"{login_name}\n{device_id}"
        wait = await self._attempts.take(key, self._limit, self._clock.now_ms())
        if wait > 0:
            raise RateLimited("sign-in attempt rate limit exceeded for this login name", retry_after=wait)
        # An account of another issuer has no password.
        stored = account.password_hash or None if account else None
        try:
            matches = await self._passwords.verify(password, stored, address)
        except ServerBusy:
            await self._attempts.refund(key, self._limit)
            raise
        if account is None or account.deleting or not matches:
            raise CredentialsInvalid("login name or password is wrong")
        await self._attempts.refund(key, self._limit)
        return account

    async def _known_device(self, account: Account | None, device_id: str) -> str:
        """Return the device id if the account knows the device; else an empty string."""
        if account is None or not device_id:
            return ""
        known = await self._devices.is_signed_in(account.user_id, device_id)
        return "" if known is None else device_id


def _too_weak(message: str, field: str) -> PasswordTooWeak:
    return PasswordTooWeak(message, violations=(Violation(field, message),))

"""Login names and passwords: who shows the right one, how often that may be tried, and how it is changed.

Tries are counted by login name, for all servers together. A device that the account knows has a count of its own:
strangers who try for ever keep nobody out but those who sign in on a device that is new.
"""

from __future__ import annotations

from chat_service.accounts.account import Account
from chat_service.accounts.errors import CredentialsInvalid, PasswordTooWeak
from chat_service.accounts.passwords import PasswordHasherPool
from chat_service.accounts.ports import AccountStore, AttemptCounter, DeviceStore
from chat_service.errors import RateLimited, StoreUnavailable
from servicekit.clock import Clock
from servicekit.rate_limiter import RateLimit


class PasswordAuthenticator:
    """Compares passwords with those kept. Every method may raise StoreUnavailable and RateLimited."""

    def __init__(
        self,
        store: AccountStore,
        devices: DeviceStore,
        passwords: PasswordHasherPool,
        tries: AttemptCounter,
        clock: Clock,
        allowance: RateLimit,
    ) -> None:
        self._store = store
        self._devices = devices
        self._passwords = passwords
        self._tries = tries
        self._clock = clock
        self._allowance = allowance

    async def authenticate(self, login_name: str, password: str, device_id: str) -> Account:
        """The account with this name and password; `device_id` is the device that tries, empty: a new one.

        Raises CredentialsInvalid, as late for a name that does not exist.
        """
        user_id = await self._store.find_user_id(login_name)
        account = None if user_id is None else await self._store.load(user_id)
        return await self._verify_counted(account, login_name, password, await self._known_device(account, device_id))

    async def reauthenticate(self, user_id: str, password: str, device_id: str) -> Account:
        """The account of a user who is signed in, and shows the password once more. Raises CredentialsInvalid."""
        account = await self._store.load(user_id)
        return await self._verify_counted(account, account.profile.login_name if account else "", password, device_id)

    async def still_valid(self, account: Account, password: str) -> bool:
        """Whether the password is right still: it may be another, or the account may end, since `account` was read."""
        now = await self._store.load(account.user_id)
        if now is None or now.deleting:
            return False
        if now.password_hash == account.password_hash:
            return True
        return await self._passwords.verify(password, now.password_hash)

    async def hash_new_password(self, login_name: str, password: str) -> str:
        """What to keep of a new password. Raises PasswordTooWeak."""
        if password.casefold() == login_name or len(set(password)) == 1:
            raise PasswordTooWeak("a password is not the login name, nor one character again and again")
        return await self._passwords.hash(password)

    async def change_password(self, user_id: str, device_id: str, old: str, new: str) -> None:
        """Sets another password; that it is set already counts as done.

        Raises CredentialsInvalid, PasswordTooWeak.
        """
        try:
            account = await self.reauthenticate(user_id, old, device_id)
        except CredentialsInvalid:
            # Perhaps the answer to the same change was lost; whoever knows the password of today proves as much.
            await self.reauthenticate(user_id, new, device_id)
            return
        if old == new:
            raise PasswordTooWeak("the new password is the old one")
        stored = await self.hash_new_password(account.profile.login_name, new)
        if not await self._store.set_password_hash(user_id, account.password_hash, stored):
            raise StoreUnavailable("the password was changed at the same time")

    async def rehash_if_outdated(self, account: Account, password: str) -> None:
        """Makes up for a hash of weaker times."""
        if self._passwords.is_outdated(account.password_hash):
            stronger = await self._passwords.hash(password)
            await self._store.set_password_hash(account.user_id, account.password_hash, stronger)

    async def _verify_counted(self, account: Account | None, login_name: str, password: str, device_id: str) -> Account:
        """The account, if the password is its own. The try counts unless it is: who knows does not guess."""
        key = f"{login_name}\n{device_id}"
        wait = await self._tries.take(key, self._allowance, self._clock.now_ms())
        if wait > 0:
            raise RateLimited("too many attempts to sign in", retry_after=wait)
        # An account of another issuer has none.
        stored = account.password_hash or None if account else None
        right = await self._passwords.verify(password, stored)
        if account is None or account.deleting or not right:
            raise CredentialsInvalid("login name or password is wrong")
        await self._tries.refund(key, self._allowance)
        return account

    async def _known_device(self, account: Account | None, device_id: str) -> str:
        """The device, if it is one of the account's."""
        if account is None or not device_id:
            return ""
        known = await self._devices.is_signed_in(account.user_id, device_id)
        return "" if known is None else device_id

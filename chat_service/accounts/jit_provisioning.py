"""Just-in-time provisioning: the first call with a token of another issuer creates the user and the device.

The claims of the first token become the profile; the user may change it afterwards. The login name is the preferred
username if it is free and Register would accept it, else the user id.
"""

from __future__ import annotations

import re
from typing import Final

from chat_service.accounts.account import Account, Profile
from chat_service.accounts.errors import DeviceRevoked
from chat_service.accounts.ports import AccountStore
from chat_service.accounts.sign_in_sessions import SignInSessions
from chat_service.model.names import normalize_name, sanitize_name
from servicekit import audit
from servicekit.auth import Claims
from servicekit.clock import Clock

# The rule of RegisterRequest. It excludes mail addresses, which searches must not reveal.
LOGIN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{2,63}", re.ASCII)
USER_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
MAX_DISPLAY_NAME_CHARS: Final = 128


class JitProvisioner:
    """Creates accounts and devices for tokens of another issuer. Every method may raise StoreUnavailable."""

    def __init__(self, store: AccountStore, sessions: SignInSessions, clock: Clock) -> None:
        self._store = store
        self._sessions = sessions
        self._clock = clock

    async def provision(self, claims: Claims) -> None:
        """Create the user and the device of `claims`. Idempotent. Raise DeviceRevoked if the account was deleted."""
        account = await self._store.load(claims.user_id)
        if account is None:
            account = await self._create_account(claims)
        if account.deleting:
            raise DeviceRevoked("the account was deleted")
        if not account.listed:
            await self._store.list_for_search(account.user_id, account.search_keys)
        # The device is added last: a known device implies a complete account.
        await self._sessions.add_external_device(claims.user_id, claims.device_id)
        # A deletion that began meanwhile may have signed out the devices before this one was added.
        if await self._is_deleting(claims.user_id):
            await self._sessions.sign_out(claims.user_id, claims.device_id)
            raise DeviceRevoked("the account was deleted")

    async def _is_deleting(self, user_id: str) -> bool:
        account = await self._store.load(user_id)
        return account is None or account.deleting

    async def _create_account(self, claims: Claims) -> Account:
        login_name = await self._claim_login_name(claims)
        display_name = sanitize_name(normalize_name(claims.name)[:MAX_DISPLAY_NAME_CHARS]) or login_name
        account = Account(Profile(claims.user_id, login_name, display_name), "", self._clock.now_ms())
        await self._store.insert(account)
        audit.record_event("account_provisioning", {"user": claims.user_id})
        return account

    async def _claim_login_name(self, claims: Claims) -> str:
        """Claim and return the login name of a new user.

        The name is claimed before the account is inserted: the issuer's user id is stable, so a repeat after a crash
        claims the same name for the same user.
        """
        preferred = claims.preferred_username.strip().lower()
        usable = LOGIN_NAME.fullmatch(preferred) and not USER_ID.fullmatch(preferred)
        if usable and await self._store.claim_login_name(preferred, claims.user_id):
            return preferred
        await self._store.claim_login_name(claims.user_id, claims.user_id)
        return claims.user_id

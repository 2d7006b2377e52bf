"""Users whom another issuer signs in: they and their devices are made known here at first sight.

What their token says becomes their profile once; from then on it is theirs to change. A name they prefer is theirs
if nobody was here first with it and it is one that Register would take; else they are called by their id.
"""

from __future__ import annotations

import re
from typing import Final

from chat_service.accounts.account import Account, Profile, normalize_display_name
from chat_service.accounts.errors import DeviceRevoked
from chat_service.accounts.ports import AccountStore
from chat_service.accounts.sign_in_sessions import SignInSessions
from servicekit.auth import Claims
from servicekit.clock import Clock

# As in the rule of RegisterRequest: an address of mail, say, is nothing that strangers shall find by search.
LOGIN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{2,63}", re.ASCII)
USER_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
MAX_DISPLAY_NAME_CHARS: Final = 128


class JitProvisioner:
    """Makes accounts of users that another issuer vouches for. Every method may raise StoreUnavailable."""

    def __init__(self, store: AccountStore, sessions: SignInSessions, clock: Clock) -> None:
        self._store = store
        self._sessions = sessions
        self._clock = clock

    async def provision(self, claims: Claims) -> None:
        """Makes a user and a device known; may be repeated. Raises DeviceRevoked for an account that was deleted."""
        account = await self._store.load(claims.user_id)
        if account is None:
            account = await self._create_account(claims)
        if account.deleting:
            raise DeviceRevoked("the account was deleted")
        if not account.listed:
            await self._store.list_for_search(account.user_id, account.search_keys)
        # Last: whoever is known by a device is known altogether.
        await self._sessions.add_external_device(claims.user_id, claims.device_id)
        # An end that was decided meanwhile has signed out the devices there were then.
        if await self._is_leaving(claims.user_id):
            await self._sessions.sign_out(claims.user_id, claims.device_id)
            raise DeviceRevoked("the account was deleted")

    async def _is_leaving(self, user_id: str) -> bool:
        account = await self._store.load(user_id)
        return account is None or account.deleting

    async def _create_account(self, claims: Claims) -> Account:
        login_name = await self._claim_login_name(claims)
        display_name = normalize_display_name(claims.name)[:MAX_DISPLAY_NAME_CHARS] or login_name
        account = Account(Profile(claims.user_id, login_name, display_name), "", self._clock.now_ms())
        await self._store.insert(account)
        return account

    async def _claim_login_name(self, claims: Claims) -> str:
        """The name of a newcomer, whose id is its own for ever: so the name may come first, and be claimed again."""
        preferred = claims.preferred_username.strip().lower()
        usable = LOGIN_NAME.fullmatch(preferred) and not USER_ID.fullmatch(preferred)
        if usable and await self._store.claim_login_name(preferred, claims.user_id):
            return preferred
        await self._store.claim_login_name(claims.user_id, claims.user_id)
        return claims.user_id

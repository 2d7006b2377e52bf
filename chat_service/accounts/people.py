"""People: what users find out about each other, and how they are found."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from chat_service.accounts.account import Profile, ProfileChange, tidy
from chat_service.accounts.ports import AccountStore
from chat_service.accounts.search import Query, search_keys
from chat_service.errors import Invalid, UserNotFound
from servicekit.failure import Violation

DEFAULT_PAGE = 20


@dataclass(frozen=True, slots=True)
class ProfilePage:
    """Some users, and the token for more; empty: there are no more."""

    profiles: tuple[Profile, ...]
    next_page_token: str = ""


class People:
    """The profiles of all users. Every method may raise StoreUnavailable."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

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

    async def _named_anew(self, user_id: str, change: ProfileChange, display_name: str) -> ProfileChange:
        tidied = tidy(display_name)
        if not tidied:
            violation = Violation("display_name", "has nothing visible")
            raise Invalid("the display name has nothing visible", violations=(violation,))
        login_name = (await self.profile(user_id)).login_name
        return replace(change, display_name=tidied, search_keys=search_keys(login_name, tidied))

"""People: what users find out about each other, and how they are found."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Any, Final

from chat_service.accounts.account import Account, Profile, ProfileChange, normalize_display_name
from chat_service.accounts.ports import AccountStore
from chat_service.accounts.privacy import Privacy, PrivacyChange
from chat_service.accounts.user_search import UserQuery
from chat_service.errors import Invalid, StoreUnavailable, UserNotFound
from servicekit.failure import Violation

DEFAULT_PAGE: Final = 20
# How often a change is tried again because another one came meanwhile.
MAX_UPDATE_ATTEMPTS: Final = 16


class ProfileService:
    """The profiles of all users. Every method may raise StoreUnavailable."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

    async def get_profile(self, user_id: str) -> Profile:
        """What others see of a user, also of one who was deleted. Raises UserNotFound."""
        account = await self._load_account(user_id)
        return Profile(user_id, "", "", deleted=True) if account.deleting else account.profile

    async def load_profiles(self, user_ids: Collection[str]) -> dict[str, Profile]:
        """The profiles of those of `user_ids` that are users."""
        return await self._store.load_profiles(user_ids)

    async def update_profile(self, user_id: str, change: ProfileChange) -> Profile:
        """Changes the caller's profile. Raises UserNotFound, Invalid for a name of nothing visible."""
        said = _changed_fields(change)
        if "display_name" in said:
            said["display_name"] = _checked_display_name(said["display_name"])
        changed = await self._update_account(
            user_id, lambda account: replace(account, profile=replace(account.profile, **said))
        )
        return changed.profile

    async def get_privacy(self, user_id: str) -> Privacy:
        """What a user lets others do. Raises UserNotFound."""
        return (await self._load_account(user_id)).privacy

    async def update_privacy(self, user_id: str, change: PrivacyChange) -> Privacy:
        """Changes what the caller lets others do. Raises UserNotFound."""
        said = _changed_fields(change)
        changed = await self._update_account(
            user_id, lambda account: replace(account, privacy=replace(account.privacy, **said))
        )
        return changed.privacy

    async def search_profiles(self, text: str, after: str, limit: int) -> list[Profile]:
        """Return at most `limit` users with a name that begins with `text`, by login name, above `after`."""
        query = UserQuery.of(text)
        return await self._store.search_profiles(query, after, limit) if query.text else []

    async def filter_existing(self, user_ids: Collection[str]) -> set[str]:
        """Those of `user_ids` (32 hex digits each) that are users."""
        return await self._store.filter_existing(user_ids)

    async def _load_account(self, user_id: str) -> Account:
        account = await self._store.load(user_id)
        if account is None:
            raise UserNotFound("no such user")
        return account

    async def _update_account(self, user_id: str, change: Callable[[Account], Account]) -> Account:
        """The account as `change` made it; it runs again when something else changed it meanwhile."""
        for _ in range(MAX_UPDATE_ATTEMPTS):
            before = await self._load_account(user_id)
            if before.deleting:
                raise UserNotFound("no such user")
            after = change(before)
            keys = None if after.search_keys == before.search_keys else after.search_keys
            if after == before or await self._store.update(before, after, keys):
                return after
        raise StoreUnavailable("the account changes faster than it can be written")


def _changed_fields(change: ProfileChange | PrivacyChange) -> dict[str, Any]:
    """What a change says, by field."""
    fields = ((each.name, getattr(change, each.name)) for each in dataclass_fields(change))
    return {name: value for name, value in fields if value is not None}


def _checked_display_name(display_name: str) -> str:
    tidied = normalize_display_name(display_name)
    if not tidied:
        violation = Violation("display_name", "has nothing visible")
        raise Invalid("the display name has nothing visible", violations=(violation,))
    return tidied

"""Profiles and privacy settings: reads, changes and searches."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from typing import Any, Final

from chat_service.accounts.account import Account, Profile, ProfileChange
from chat_service.accounts.ports import AccountStore
from chat_service.accounts.privacy import Privacy, PrivacyChange
from chat_service.accounts.user_search import UserQuery
from chat_service.errors import UserNotFound
from chat_service.model.names import normalize_name
from servicekit.errors import StoreUnavailable

# Attempts at a change that conflicts with concurrent ones.
MAX_UPDATE_ATTEMPTS: Final = 16


class ProfileService:
    """The profiles of all users. Every method may raise StoreUnavailable."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

    async def get_profile(self, user_id: str) -> Profile:
        """Return the profile of a user, or of a deleted one. Raise UserNotFound."""
        account = await self._load_account(user_id)
        return Profile(user_id, "", "", deleted=True) if account.deleting else account.profile

    async def load_profiles(self, user_ids: Collection[str]) -> dict[str, Profile]:
        """Return the profiles of the `user_ids` that exist."""
        return await self._store.load_profiles(user_ids)

    async def update_profile(self, user_id: str, change: ProfileChange) -> Profile:
        """Change a profile and return it. Raise UserNotFound."""
        fields = _changed_fields(change)
        if "display_name" in fields:
            fields["display_name"] = normalize_name(fields["display_name"])
        changed = await self._update_account(
            user_id, lambda account: replace(account, profile=replace(account.profile, **fields))
        )
        return changed.profile

    async def get_privacy(self, user_id: str) -> Privacy:
        """Return the privacy settings of a user. Raise UserNotFound."""
        return (await self._load_account(user_id)).privacy

    async def update_privacy(self, user_id: str, change: PrivacyChange) -> Privacy:
        """Change privacy settings and return them. Raise UserNotFound."""
        fields = _changed_fields(change)
        changed = await self._update_account(
            user_id, lambda account: replace(account, privacy=replace(account.privacy, **fields))
        )
        return changed.privacy

    async def search_profiles(self, text: str, after: str, limit: int) -> list[Profile]:
        """Return at most `limit` users with a name that begins with `text`, by login name, above `after`."""
        query = UserQuery.of(text)
        return await self._store.search_profiles(query, after, limit) if query.texts else []

    async def filter_existing(self, user_ids: Collection[str]) -> set[str]:
        """Return the `user_ids` (32 hex digits each) that exist."""
        return await self._store.filter_existing(user_ids)

    async def _load_account(self, user_id: str) -> Account:
        account = await self._store.load(user_id)
        if account is None:
            raise UserNotFound("user not found")
        return account

    async def _update_account(self, user_id: str, change: Callable[[Account], Account]) -> Account:
        """Apply `change` to an account and return it. Repeat after a conflict; raise StoreUnavailable after several."""
        for _ in range(MAX_UPDATE_ATTEMPTS):
            before = await self._load_account(user_id)
            if before.deleting:
                raise UserNotFound("user not found")
            after = change(before)
            keys = None if after.search_keys == before.search_keys else after.search_keys
            if after == before or await self._store.update(before, after, keys):
                return after
        raise StoreUnavailable("concurrent changes of the account conflict; try again")


def _changed_fields(change: ProfileChange | PrivacyChange) -> dict[str, Any]:
    """Return the fields that a change sets, by name."""
    fields = ((field.name, getattr(change, field.name)) for field in dataclass_fields(change))
    return {name: value for name, value in fields if value is not None}

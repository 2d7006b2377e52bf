"""Accounts and login names in MongoDB.

`users` has one document an account, `_id` its 16-byte id. `login_names` has one a name, `_id` the name itself, so
that a name cannot be given twice. A document is found by searches once it has `prefixes`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from chat_service.accounts.account import Account, Profile, ProfileChange
from chat_service.accounts.search import Query, SearchKeys
from chat_service.storage.mongo import Database, Document, store_errors

SEARCH_INDEX = "by_prefix"
PROFILE_FIELDS = ("login_name", "display_name", "picture", "about")


class MongoAccounts:
    """Implements AccountStore; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._users = database["users"]
        self._names = database["login_names"]

    async def ensure_indexes(self) -> None:
        """Makes the index of searches: a prefix is an equality in it, and its users come by login name."""
        with store_errors():
            await self._users.create_index(
                [("prefixes", ASCENDING), ("login_name", ASCENDING)], name=SEARCH_INDEX, sparse=True
            )

    async def add(self, account: Account) -> None:
        """Keep an account that is not listed; one that is there stays as it is."""
        with suppress(DuplicateKeyError), store_errors():
            await self._users.insert_one(_document(account))

    async def claim(self, login_name: str, user_id: str) -> bool:
        """Give the name to the account; False when it is another's."""
        try:
            with store_errors():
                await self._names.insert_one({"_id": login_name, "user": bytes.fromhex(user_id)})
        except DuplicateKeyError:
            # It may be our own, when an answer was lost on the way.
            return await self.owner_of(login_name) == user_id
        return True

    async def drop(self, user_id: str) -> None:
        """Forget an account that got no name."""
        with store_errors():
            await self._users.delete_one({"_id": bytes.fromhex(user_id)})

    async def list_for_search(self, user_id: str, keys: SearchKeys) -> None:
        """Let searches find the account, which makes it listed; a listed account stays as it is."""
        unlisted = {"_id": bytes.fromhex(user_id), "prefixes": {"$exists": False}}
        with store_errors():
            await self._users.update_one(unlisted, {"$set": _search_fields(keys)})

    async def owner_of(self, login_name: str) -> str | None:
        """The user whose login name it is."""
        with store_errors():
            found = await self._names.find_one({"_id": login_name})
        return None if found is None else found["user"].hex()

    async def account(self, user_id: str) -> Account | None:
        """The account of a user."""
        with store_errors():
            found = await self._users.find_one({"_id": bytes.fromhex(user_id)}, {"words": 0})
        return None if found is None else _account(found)

    async def set_password_hash(self, user_id: str, old: str, new: str) -> bool:
        """Replace a password hash, unless it is not `old` any more."""
        unchanged = {"_id": bytes.fromhex(user_id), "password_hash": old}
        with store_errors():
            result = await self._users.update_one(unchanged, {"$set": {"password_hash": new}})
        return result.matched_count == 1

    async def change_profile(self, user_id: str, change: ProfileChange) -> Profile | None:
        """Change a profile at once as a whole, and give it as it is then."""
        fields = _changed_fields(change)
        with store_errors():
            found = await self._users.find_one_and_update(
                {"_id": bytes.fromhex(user_id)},
                # An update must set something.
                {"$set": fields} if fields else {"$unset": {"nothing": ""}},
                projection=PROFILE_FIELDS,
                return_document=ReturnDocument.AFTER,
            )
        return None if found is None else _profile(found)

    async def profiles_matching(self, query: Query, after: str, limit: int) -> list[Profile]:
        """At most `limit` listed users, by login name, beginning after the login name `after`."""
        with store_errors():
            cursor = self._users.find(_criteria(query, after), PROFILE_FIELDS)
            found = await cursor.sort("login_name", ASCENDING).limit(limit).hint(SEARCH_INDEX).to_list()
        return [_profile(each) for each in found]

    async def existing(self, user_ids: Collection[str]) -> set[str]:
        """Those of `user_ids` that are users."""
        keys = [bytes.fromhex(user_id) for user_id in user_ids]
        with store_errors():
            found = await self._users.find({"_id": {"$in": keys}}, {"_id": 1}).to_list()
        return {each["_id"].hex() for each in found}


def _criteria(query: Query, after: str) -> Document:
    criteria: Document = {"prefixes": query.prefix}
    if after:
        criteria["login_name"] = {"$gt": after}
    if query.prefix != query.text:
        criteria["words"] = {"$regex": f"^{re.escape(query.text)}"}
    return criteria


def _document(account: Account) -> Document:
    return {
        "_id": bytes.fromhex(account.user_id),
        "login_name": account.profile.login_name,
        "display_name": account.profile.display_name,
        "picture": account.profile.picture_media_id,
        "about": account.profile.about,
        "password_hash": account.password_hash,
        "created_ms": account.created_ms,
    }


def _account(found: Document) -> Account:
    return Account(_profile(found), found["password_hash"], found["created_ms"], "prefixes" in found)


def _profile(found: Document) -> Profile:
    return Profile(found["_id"].hex(), *(found[field] for field in PROFILE_FIELDS))


def _changed_fields(change: ProfileChange) -> dict[str, Any]:
    fields = {
        "display_name": change.display_name,
        "picture": change.picture_media_id,
        "about": change.about,
    }
    changed: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    return changed if change.search_keys is None else changed | _search_fields(change.search_keys)


def _search_fields(keys: SearchKeys) -> dict[str, Any]:
    return {"words": list(keys.words), "prefixes": list(keys.prefixes)}

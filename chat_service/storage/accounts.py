"""Accounts and login names in MongoDB.

`users` has one document an account, `_id` its 16-byte id. `login_names` has one a name, `_id` the name itself, so
that a name cannot be given twice. A document is found by searches once it has `prefixes`; with `leaving` it is on its
way out, and with `gone` nothing else is left of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from chat_service.accounts.account import Account, Profile
from chat_service.accounts.privacy import Privacy, WhoMayAdd
from chat_service.accounts.user_search import SearchKeys, UserQuery
from chat_service.storage.mongo import Database, Document, store_errors

SEARCH_INDEX = "by_prefix"
# Seconds after which the name of a deleted account is free: nobody shall be taken for who was there before.
NAME_KEPT_S = 30 * 24 * 3600
PROFILE_FIELDS = ("login_name", "display_name", "picture", "about")
# Of those on their way out and beyond nobody knows but their own deletion.
STAYS: Document = {"leaving": {"$exists": False}, "gone": {"$exists": False}}
# What searches find by is made from these.
SEARCHED = {"display_name", "hidden"}
# What is true of an account that does not say.
UNLESS_KEPT: Document = {"adding": int(WhoMayAdd.EVERYONE), "hidden": False}


class MongoAccountStore:
    """Implements AccountStore; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._users = database["users"]
        self._names = database["login_names"]

    async def ensure_indexes(self) -> None:
        """Makes the indexes: of searches, a prefix and in it login names; of what is on its way out."""
        with store_errors(timeout_s=60.0):
            await self._users.create_index([("leaving", ASCENDING)], sparse=True)
            await self._names.create_index([("released", ASCENDING)], expireAfterSeconds=NAME_KEPT_S)
            await self._users.create_index(
                [("prefixes", ASCENDING), ("login_name", ASCENDING)], name=SEARCH_INDEX, sparse=True
            )

    async def insert(self, account: Account) -> None:
        """Keep an account that is not listed; one that is there stays as it is."""
        with suppress(DuplicateKeyError), store_errors():
            await self._users.insert_one(_document(account))

    async def claim_login_name(self, login_name: str, user_id: str) -> bool:
        """Give the name to the account; False when it is another's."""
        try:
            with store_errors():
                await self._names.insert_one({"_id": login_name, "user": bytes.fromhex(user_id)})
        except DuplicateKeyError:
            # It may be our own, when an answer was lost on the way.
            return await self.find_user_id(login_name) == user_id
        return True

    async def delete_unclaimed(self, user_id: str) -> None:
        """Forget an account that got no name."""
        with store_errors():
            await self._users.delete_one({"_id": bytes.fromhex(user_id)})

    async def list_for_search(self, user_id: str, keys: SearchKeys) -> None:
        """Let searches find the account, which makes it listed; a listed account stays as it is."""
        unlisted = {"_id": bytes.fromhex(user_id), "prefixes": {"$exists": False}, **STAYS}
        with store_errors():
            await self._users.update_one(unlisted, {"$set": _search_fields(keys)})

    async def find_user_id(self, login_name: str) -> str | None:
        """The user whose login name it is."""
        with store_errors():
            found = await self._names.find_one({"_id": login_name})
        return None if found is None else found["user"].hex()

    async def load(self, user_id: str) -> Account | None:
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

    async def update(self, before: Account, after: Account, keys: SearchKeys | None) -> bool:
        """Make of an account's profile and privacy those of `after`, unless they are not as `before` any more."""
        was, becomes = _changeable(before), _changeable(after)
        changed = {name: value for name, value in becomes.items() if value != was[name]}
        same = changed.keys() | SEARCHED if changed.keys() & SEARCHED else changed.keys()
        condition = {"_id": bytes.fromhex(before.user_id), **STAYS, **{name: _still(name, was[name]) for name in same}}
        with store_errors():
            result = await self._users.update_one(
                condition, {"$set": changed | ({} if keys is None else _search_fields(keys))}
            )
        return result.matched_count == 1

    async def load_adding_rules(self, user_ids: Collection[str]) -> dict[str, WhoMayAdd]:
        """Who may add these users to groups; those whom everyone may add are not named."""
        condition = {"_id": {"$in": [bytes.fromhex(user_id) for user_id in user_ids]}, "adding": {"$exists": True}}
        with store_errors():
            found = await self._users.find(condition, {"adding": 1}).to_list()
        return {each["_id"].hex(): WhoMayAdd(each["adding"]) for each in found}

    async def mark_deleting(self, user_id: str, now_ms: int) -> None:
        """Let an account be on its way out; again changes nothing."""
        condition = {"_id": bytes.fromhex(user_id), **STAYS}
        with store_errors():
            await self._users.update_one(
                condition, {"$set": {"leaving": now_ms}, "$unset": {"prefixes": "", "words": ""}}
            )

    async def list_deleting(self, limit: int) -> list[tuple[str, int]]:
        """At most `limit` accounts on their way out, those first that have been for longest."""
        with store_errors():
            cursor = self._users.find({"leaving": {"$exists": True}}, {"leaving": 1})
            found = await cursor.sort("leaving", ASCENDING).limit(limit).to_list()
        return [(each["_id"].hex(), each["leaving"]) for each in found]

    async def release_name(self, user_id: str) -> None:
        """Let the login name of an account be free in NAME_KEPT_S seconds."""
        with store_errors():
            found = await self._users.find_one({"_id": bytes.fromhex(user_id)}, {"login_name": 1})
            if found is not None and "login_name" in found:
                # Only its own: it may have come too late for the name it wanted.
                own = {"_id": found["login_name"], "user": bytes.fromhex(user_id)}
                await self._names.update_one(own, [{"$set": {"released": {"$ifNull": ["$released", "$$NOW"]}}}])

    async def purge(self, user_id: str, now_ms: int) -> None:
        """Keep of an account on its way out only that there was one."""
        with store_errors():
            leaving = {"_id": bytes.fromhex(user_id), "leaving": {"$exists": True}}
            await self._users.replace_one(leaving, {"gone": now_ms})

    async def load_profiles(self, user_ids: Collection[str]) -> dict[str, Profile]:
        """The profiles of those of `user_ids` that are users."""
        condition = {"_id": {"$in": [bytes.fromhex(user_id) for user_id in user_ids]}, **STAYS}
        with store_errors():
            found = await self._users.find(condition, PROFILE_FIELDS).to_list()
        return {each["_id"].hex(): _profile(each) for each in found}

    async def search_profiles(self, query: UserQuery, after: str, limit: int) -> list[Profile]:
        """At most `limit` listed users, by login name, beginning after the login name `after`."""
        with store_errors():
            cursor = self._users.find(_criteria(query, after), PROFILE_FIELDS)
            found = await cursor.sort("login_name", ASCENDING).limit(limit).hint(SEARCH_INDEX).to_list()
        return [_profile(each) for each in found]

    async def filter_existing(self, user_ids: Collection[str]) -> set[str]:
        """Those of `user_ids` that are users."""
        keys = [bytes.fromhex(user_id) for user_id in user_ids]
        with store_errors():
            found = await self._users.find({"_id": {"$in": keys}, **STAYS}, {"_id": 1}).to_list()
        return {each["_id"].hex() for each in found}


def _criteria(query: UserQuery, after: str) -> Document:
    criteria: Document = {"prefixes": {"$in": list(query.prefixes)}}
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
    if "gone" in found:
        return Account(Profile(found["_id"].hex(), "", "", deleted=True), "", 0, deleting=True)
    kept = UNLESS_KEPT | found
    return Account(
        _profile(found),
        found["password_hash"],
        found["created_ms"],
        "prefixes" in found,
        Privacy(WhoMayAdd(kept["adding"]), not kept["hidden"]),
        "leaving" in found,
    )


def _profile(found: Document) -> Profile:
    return Profile(found["_id"].hex(), *(found[field] for field in PROFILE_FIELDS))


def _changeable(account: Account) -> Document:
    profile, privacy = account.profile, account.privacy
    return {
        "display_name": profile.display_name,
        "picture": profile.picture_media_id,
        "about": profile.about,
        "adding": int(privacy.who_may_add),
        "hidden": not privacy.found_by_search,
    }


def _still(name: str, value: Any) -> Any:
    """A condition for a field that is as it was, or is not kept yet and has its default."""
    return {"$in": [value, None]} if value == UNLESS_KEPT.get(name) else value


def _search_fields(keys: SearchKeys) -> dict[str, Any]:
    return {"words": list(keys.words), "prefixes": list(keys.prefixes)}

"""Accounts and login names in MongoDB.

`users` holds one document per account; `_id` is its 16-byte id. `login_names` holds one document per name; `_id` is the
name, so no two accounts can claim it. Searches find an account once its document has `prefixes`. `leaving` is the time
at which the deletion of the account began, and `gone` the time at which all other fields were removed; both in
milliseconds since 1970.
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
from servicekit.mongo import Database, Document, index_builds, store_errors

SEARCH_INDEX = "by_prefix"
# The login name of a deleted account can be claimed after this time, so that its contacts are not misled at once.
NAME_QUARANTINE_S = 30 * 24 * 3600
PROFILE_FIELDS = ("login_name", "display_name", "picture", "about")
# The condition for accounts that are neither deleted nor being deleted.
NOT_DELETED: Document = {"leaving": {"$exists": False}, "gone": {"$exists": False}}
# The search keys are computed from these fields.
SEARCHED_FIELDS = {"display_name", "hidden"}
# Values of fields that a document lacks.
FIELD_DEFAULTS: Document = {"adding": int(WhoMayAdd.EVERYONE), "hidden": False}


class MongoAccountStore:
    """Implements AccountStore; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._users = database["users"]
        self._names = database["login_names"]

    async def ensure_indexes(self) -> None:
        """Create the indexes for searches, for accounts that are being deleted and for the expiry of released names."""
        with index_builds():
            await self._users.create_index([("leaving", ASCENDING)], sparse=True)
            await self._names.create_index([("released", ASCENDING)], expireAfterSeconds=NAME_QUARANTINE_S)
            await self._users.create_index(
                [("prefixes", ASCENDING), ("login_name", ASCENDING)], name=SEARCH_INDEX, sparse=True
            )

    async def insert(self, account: Account) -> None:
        """See AccountStore."""
        with suppress(DuplicateKeyError), store_errors():
            await self._users.insert_one(_encode_account(account))

    async def claim_login_name(self, login_name: str, user_id: str) -> bool:
        """Insert the name as an `_id`, which is unique."""
        try:
            with store_errors():
                await self._names.insert_one({"_id": login_name, "user": bytes.fromhex(user_id)})
        except DuplicateKeyError:
            # This account may have claimed it before, in a call whose reply was lost.
            return await self.find_user_id(login_name) == user_id
        return True

    async def delete_unclaimed(self, user_id: str) -> None:
        """See AccountStore."""
        with store_errors():
            await self._users.delete_one({"_id": bytes.fromhex(user_id)})

    async def list_for_search(self, user_id: str, keys: SearchKeys) -> None:
        """Set the search keys unless they are set; searches find the account from then on."""
        unlisted = {"_id": bytes.fromhex(user_id), "prefixes": {"$exists": False}, **NOT_DELETED}
        with store_errors():
            await self._users.update_one(unlisted, {"$set": _encode_keys(keys)})

    async def find_user_id(self, login_name: str) -> str | None:
        """See AccountStore."""
        with store_errors():
            document = await self._names.find_one({"_id": login_name})
        return None if document is None else document["user"].hex()

    async def load(self, user_id: str) -> Account | None:
        """See AccountStore."""
        with store_errors():
            document = await self._users.find_one({"_id": bytes.fromhex(user_id)}, {"words": 0})
        return None if document is None else _decode_account(document)

    async def set_password_hash(self, user_id: str, old: str, new: str) -> bool:
        """Replace the hash in one conditional write."""
        unchanged = {"_id": bytes.fromhex(user_id), "password_hash": old}
        with store_errors():
            result = await self._users.update_one(unchanged, {"$set": {"password_hash": new}})
        return result.matched_count == 1

    async def update(self, before: Account, after: Account, keys: SearchKeys | None) -> bool:
        """Write the changed fields if they, and the fields that new search keys depend on, still are as in `before`."""
        old, new = _mutable_fields(before), _mutable_fields(after)
        changed = {name: value for name, value in new.items() if value != old[name]}
        compared = changed.keys() | SEARCHED_FIELDS if changed.keys() & SEARCHED_FIELDS else changed.keys()
        condition = {
            "_id": bytes.fromhex(before.user_id),
            **NOT_DELETED,
            **{name: _equals(name, old[name]) for name in compared},
        }
        with store_errors():
            result = await self._users.update_one(
                condition, {"$set": changed | ({} if keys is None else _encode_keys(keys))}
            )
        return result.matched_count == 1

    async def load_adding_rules(self, user_ids: Collection[str]) -> dict[str, WhoMayAdd]:
        """Return the rules of these users; users without a stored rule are absent, and everyone may add them."""
        condition = {"_id": {"$in": [bytes.fromhex(user_id) for user_id in user_ids]}, "adding": {"$exists": True}}
        with store_errors():
            documents = await self._users.find(condition, {"adding": 1}).to_list()
        return {each["_id"].hex(): WhoMayAdd(each["adding"]) for each in documents}

    async def mark_deleting(self, user_id: str, now_ms: int) -> None:
        """Set `leaving` unless it is set, and remove the search keys and the reference to the picture."""
        condition = {"_id": bytes.fromhex(user_id), **NOT_DELETED}
        mark = {"$set": {"leaving": now_ms, "picture": ""}, "$unset": {"prefixes": "", "words": ""}}
        with store_errors():
            await self._users.update_one(condition, mark)

    async def list_deleting(self, limit: int) -> list[tuple[str, int]]:
        """Return at most `limit` of these accounts, in order of the start of their deletion."""
        with store_errors():
            cursor = self._users.find({"leaving": {"$exists": True}}, {"leaving": 1})
            documents = await cursor.sort("leaving", ASCENDING).limit(limit).to_list()
        return [(each["_id"].hex(), each["leaving"]) for each in documents]

    async def release_name(self, user_id: str) -> None:
        """Make the login name claimable again in NAME_QUARANTINE_S seconds."""
        with store_errors():
            document = await self._users.find_one({"_id": bytes.fromhex(user_id)}, {"login_name": 1})
            if document is not None and "login_name" in document:
                # Another account may own the name, if this one lost the race to claim it.
                own = {"_id": document["login_name"], "user": bytes.fromhex(user_id)}
                await self._names.update_one(own, [{"$set": {"released": {"$ifNull": ["$released", "$$NOW"]}}}])

    async def purge(self, user_id: str, now_ms: int) -> None:
        """Replace the document of an account that is being deleted by `gone`."""
        with store_errors():
            leaving = {"_id": bytes.fromhex(user_id), "leaving": {"$exists": True}}
            await self._users.replace_one(leaving, {"gone": now_ms})

    async def load_profiles(self, user_ids: Collection[str]) -> dict[str, Profile]:
        """See AccountStore."""
        condition = {"_id": {"$in": [bytes.fromhex(user_id) for user_id in user_ids]}, **NOT_DELETED}
        with store_errors():
            documents = await self._users.find(condition, PROFILE_FIELDS).to_list()
        return {each["_id"].hex(): _decode_profile(each) for each in documents}

    async def search_profiles(self, query: UserQuery, after: str, limit: int) -> list[Profile]:
        """Read one range of the search index per key of the query."""
        with store_errors():
            cursor = self._users.find(_criteria(query, after), PROFILE_FIELDS)
            documents = await cursor.sort("login_name", ASCENDING).limit(limit).hint(SEARCH_INDEX).to_list()
        return [_decode_profile(each) for each in documents]

    async def filter_existing(self, user_ids: Collection[str]) -> set[str]:
        """See AccountStore."""
        keys = [bytes.fromhex(user_id) for user_id in user_ids]
        with store_errors():
            documents = await self._users.find({"_id": {"$in": keys}, **NOT_DELETED}, {"_id": 1}).to_list()
        return {each["_id"].hex() for each in documents}


def _criteria(query: UserQuery, after: str) -> Document:
    criteria: Document = {"prefixes": {"$in": query.keys}}
    if after:
        criteria["login_name"] = {"$gt": after}
    if query.exceeds_keys:
        criteria["words"] = {"$regex": f"^(?:{'|'.join(map(re.escape, query.texts))})"}
    return criteria


def _encode_account(account: Account) -> Document:
    return {
        "_id": bytes.fromhex(account.user_id),
        "login_name": account.profile.login_name,
        "display_name": account.profile.display_name,
        "picture": account.profile.picture_media_id,
        "about": account.profile.about,
        "password_hash": account.password_hash,
        "created_ms": account.created_ms,
    }


def _decode_account(document: Document) -> Account:
    if "gone" in document:
        return Account(Profile(document["_id"].hex(), "", "", deleted=True), "", 0, deleting=True)
    fields = FIELD_DEFAULTS | document
    return Account(
        _decode_profile(document),
        document["password_hash"],
        document["created_ms"],
        "prefixes" in document,
        Privacy(WhoMayAdd(fields["adding"]), not fields["hidden"]),
        "leaving" in document,
    )


def _decode_profile(document: Document) -> Profile:
    return Profile(document["_id"].hex(), *(document[field] for field in PROFILE_FIELDS))


def _mutable_fields(account: Account) -> Document:
    profile, privacy = account.profile, account.privacy
    return {
        "display_name": profile.display_name,
        "picture": profile.picture_media_id,
        "about": profile.about,
        "adding": int(privacy.who_may_add),
        "hidden": not privacy.found_by_search,
    }


def _equals(name: str, value: Any) -> Any:
    """Return a condition that is true if the field has this value, or is not stored and has it by default."""
    return {"$in": [value, None]} if value == FIELD_DEFAULTS.get(name) else value


def _encode_keys(keys: SearchKeys) -> dict[str, Any]:
    return {"words": list(keys.words), "prefixes": list(keys.prefixes)}

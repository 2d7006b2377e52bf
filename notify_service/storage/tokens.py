"""The push tokens of devices, in MongoDB."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from notify_service.model.push import (
    ApnsEnvironment,
    ApnsToken,
    EncryptionKey,
    FcmToken,
    PushToken,
    WebPushSubscription,
)
from notify_service.model.registration import ProviderKind, Registration
from servicekit.errors import StoreUnavailable
from servicekit.mongo import Database, Document, index_builds, store_errors

TOKENS: Final = "notify_tokens"
# Registrations of one token, or for one device, that may collide at the same moment.
_ATTEMPTS: Final = 5


class MongoTokenStore:
    """Implements TokenStore.

    A document is `{_id: id of the token, u: user id, d: device id, p: provider, t: token or endpoint, topic, env, key,
    auth, lang, reg_ms, push_ms}`; ids are bytes. The pair of user and device is unique.
    """

    def __init__(self, database: Database) -> None:
        self._tokens: AsyncCollection[Document] = database[TOKENS]

    async def ensure_indexes(self) -> None:
        """Create the index unless it exists."""
        with index_builds():
            await self._tokens.create_index([("u", 1), ("d", 1)], unique=True)

    async def put(self, registration: Registration) -> None:
        """See TokenStore."""
        document = _encode(registration)
        device = {"u": document["u"], "d": document["d"]}
        for _ in range(_ATTEMPTS):
            try:
                with store_errors():
                    # The time of the last push stays if the same device registers the same token again.
                    changed = await self._tokens.update_one({"_id": document["_id"], **device}, {"$set": document})
                    if changed.matched_count:
                        return
                    await self._tokens.delete_many({**device, "_id": {"$ne": document["_id"]}})
                    await self._tokens.replace_one({"_id": document["_id"]}, document, upsert=True)
                    return
            except DuplicateKeyError:
                # The device registered another token at the same moment; one of the two stays.
                continue
        raise StoreUnavailable("the device registers several tokens at once")

    async def find_all(self, user_ids: Collection[str]) -> dict[str, list[Registration]]:
        """See TokenStore."""
        found = dict[str, list[Registration]]()
        with store_errors():
            documents = self._tokens.find({"u": {"$in": [*map(bytes.fromhex, user_ids)]}}).sort([("u", 1), ("d", 1)])
            async for document in documents:
                found.setdefault(document["u"].hex(), []).append(_decode(document))
        return found

    async def delete_device(self, user_id: str, device_id: str) -> None:
        """See TokenStore."""
        with store_errors():
            await self._tokens.delete_one({"u": bytes.fromhex(user_id), "d": bytes.fromhex(device_id)})

    async def delete_token(self, registration: Registration) -> None:
        """See TokenStore."""
        document = _encode(registration)
        unchanged = {name: document[name] for name in ("_id", "u", "d", "reg_ms")}
        with store_errors():
            await self._tokens.delete_one(unchanged)

    async def delete_user(self, user_id: str) -> None:
        """See TokenStore."""
        with store_errors():
            await self._tokens.delete_many({"u": bytes.fromhex(user_id)})

    async def note_pushes(self, accepted_ms: Mapping[bytes, int]) -> None:
        """See TokenStore."""
        if not accepted_ms:
            return
        writes = [UpdateOne({"_id": each}, {"$max": {"push_ms": ms}}) for each, ms in accepted_ms.items()]
        with store_errors():
            await self._tokens.bulk_write(writes, ordered=False)


def _encode(registration: Registration) -> Document:
    """Return the document of a registration, without the time of the last push."""
    token = registration.token
    document: Document = {
        "_id": registration.token_id,
        "u": bytes.fromhex(registration.user_id),
        "d": bytes.fromhex(registration.device_id),
        "p": int(registration.provider),
        "lang": registration.language,
        "reg_ms": registration.register_ms,
        "key": token.encryption_key.public_key if token.encryption_key else None,
        "auth": token.encryption_key.auth_secret if token.encryption_key else None,
    }
    match token:
        case FcmToken():
            return document | {"t": token.token}
        case ApnsToken():
            return document | {"t": token.token, "topic": token.topic, "env": int(token.environment)}
        case WebPushSubscription():
            return document | {"t": token.endpoint}


def _decode(document: Document) -> Registration:
    return Registration(
        document["u"].hex(),
        document["d"].hex(),
        _decode_token(document),
        document["lang"],
        document["reg_ms"],
        document.get("push_ms", 0),
    )


def _decode_token(document: Document) -> PushToken:
    key = EncryptionKey(document["key"], document["auth"]) if document["key"] else None
    match ProviderKind(document["p"]):
        case ProviderKind.FCM:
            return FcmToken(document["t"], key)
        case ProviderKind.APNS:
            return ApnsToken(document["t"], document["topic"], ApnsEnvironment(document["env"]), key)
        case ProviderKind.WEB_PUSH:
            return WebPushSubscription(document["t"], EncryptionKey(document["key"], document["auth"]))

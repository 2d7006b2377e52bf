"""The devices of accounts in MongoDB: one document an account, so that their number is kept at every change.

A document is written only over the revision it was made from; so of two changes at once one is made again.
"""

from __future__ import annotations

from collections.abc import Collection

from pymongo.errors import DuplicateKeyError

from chat_service.accounts.devices import AccountDevices, Device, Platform
from chat_service.accounts.refresh_tokens import RefreshChain, sign_in_id
from chat_service.storage.batch_loader import BatchLoader
from chat_service.storage.mongo import Database, Document, store_errors


class MongoDeviceStore:
    """Implements DeviceStore; every method raises StoreUnavailable. Its one index is the collection's own."""

    def __init__(self, database: Database) -> None:
        self._devices = database["devices"]
        self._reads = BatchLoader(self._sign_ins)

    async def load(self, user_id: str) -> AccountDevices:
        """All devices of an account."""
        with store_errors():
            found = await self._devices.find_one({"_id": bytes.fromhex(user_id)})
        if found is None:
            return AccountDevices(user_id, 0, {})
        return AccountDevices(
            user_id, found["revision"], {key: _device(key, each) for key, each in found["devices"].items()}
        )

    async def save_if_unchanged(self, devices: AccountDevices) -> bool:
        """Keep them as the revision after `devices.revision`; False when somebody else changed them since."""
        document = _document(devices)
        try:
            with store_errors():
                if devices.revision == 0:
                    await self._devices.insert_one(document)
                    return True
                unchanged = {"_id": document["_id"], "revision": devices.revision}
                return (await self._devices.replace_one(unchanged, document)).matched_count == 1
        except DuplicateKeyError:
            return False

    async def delete(self, user_id: str) -> None:
        """Forget all devices of an account."""
        with store_errors():
            await self._devices.delete_one({"_id": bytes.fromhex(user_id)})

    async def load_signed_in(self, user_ids: Collection[str]) -> dict[str, dict[str, int]]:
        """Since when which devices are signed in, in milliseconds since 1970, by user and device."""
        condition = {"_id": {"$in": [bytes.fromhex(each) for each in user_ids]}}
        with store_errors():
            found = {each["_id"].hex(): each["devices"] async for each in self._devices.find(condition)}
        return {
            user: {key: device["created_ms"] for key, device in devices.items() if device["signed_in"]}
            for user, devices in found.items()
        }

    async def is_signed_in(self, user_id: str, device_id: str, sign_in: str = "") -> bool | None:
        """Whether a device is signed in, by this sign-in if one is named; None when the account has no such device."""
        device = (await self._reads.get([(user_id, device_id)])).get((user_id, device_id), {})
        signed_in: bool | None = device.get("signed_in")
        if signed_in and sign_in:
            return sign_in_id(device["chain"]["family"]) == sign_in
        return signed_in

    async def _sign_ins(self, devices: Collection[tuple[str, str]]) -> dict[tuple[str, str], Document]:
        users = {"_id": {"$in": [bytes.fromhex(user) for user in {user for user, _ in devices}]}}
        wanted = {f"devices.{device}.{field}": 1 for _, device in devices for field in ("signed_in", "chain.family")}
        with store_errors():
            found = {each["_id"].hex(): each.get("devices", {}) async for each in self._devices.find(users, wanted)}
        return {(user, device): found[user][device] for user, device in devices if device in found.get(user, {})}


def _document(devices: AccountDevices) -> Document:
    return {
        "_id": bytes.fromhex(devices.user_id),
        "revision": devices.revision + 1,
        "devices": {key: _fields(each) for key, each in devices.by_id.items()},
    }


def _fields(device: Device) -> Document:
    fields: Document = {
        "name": device.name,
        "platform": int(device.platform),
        "created_ms": device.created_ms,
        "seen_ms": device.seen_ms,
        "signed_in": device.chain is not None,
    }
    return fields if device.chain is None else fields | {"chain": _chain_fields(device.chain)}


def _chain_fields(chain: RefreshChain) -> Document:
    return {
        "family": chain.family,
        "newest": chain.newest,
        "before": chain.previous,
        "nonce": chain.nonce,
        "rotated_ms": chain.rotated_ms,
    }


def _chain(found: Document) -> RefreshChain:
    return RefreshChain(found["family"], found["newest"], found["before"], found["nonce"], found["rotated_ms"])


def _device(device_id: str, found: Document) -> Device:
    return Device(
        device_id,
        found["name"],
        Platform(found["platform"]),
        found["created_ms"],
        found["seen_ms"],
        _chain(found["chain"]) if "chain" in found else None,
    )

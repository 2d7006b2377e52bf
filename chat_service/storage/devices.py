"""The devices of accounts in MongoDB: one document per account, so that a write can bound their number.

A write replaces only the revision that it was computed from; of two concurrent changes one is refused and repeated.
"""

from __future__ import annotations

from collections.abc import Collection

from pymongo.errors import DuplicateKeyError

from chat_service.accounts.devices import AccountDevices, Device, Platform
from chat_service.accounts.refresh_tokens import RefreshChain, sign_in_id
from servicekit.batch_loader import BatchLoader
from servicekit.mongo import Database, Document, store_errors


class MongoDeviceStore:
    """Implements DeviceStore and SignedInDevices with no index besides `_id`; every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._devices = database["devices"]
        self._reads = BatchLoader(self._load_sign_ins)

    async def load(self, user_id: str) -> AccountDevices:
        """See DeviceStore."""
        with store_errors():
            document = await self._devices.find_one({"_id": bytes.fromhex(user_id)})
        if document is None:
            return AccountDevices(user_id, 0, {})
        return AccountDevices(
            user_id, document["revision"], {key: _decode_device(key, each) for key, each in document["devices"].items()}
        )

    async def save_if_unchanged(self, devices: AccountDevices) -> bool:
        """Insert the first revision, or replace `devices.revision`. See DeviceStore."""
        document = _encode_devices(devices)
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
        """Delete the document of the account."""
        with store_errors():
            await self._devices.delete_one({"_id": bytes.fromhex(user_id)})

    async def load_signed_in(self, user_ids: Collection[str]) -> dict[str, dict[str, int]]:
        """See SignedInDevices."""
        condition = {"_id": {"$in": [bytes.fromhex(each) for each in user_ids]}}
        with store_errors():
            by_user = {each["_id"].hex(): each["devices"] async for each in self._devices.find(condition)}
        return {
            user: {key: device["created_ms"] for key, device in devices.items() if device["signed_in"]}
            for user, devices in by_user.items()
        }

    async def is_signed_in(self, user_id: str, device_id: str, sign_in: str = "") -> bool | None:
        """Read through a batch loader."""
        device = (await self._reads.get([(user_id, device_id)])).get((user_id, device_id), {})
        signed_in: bool | None = device.get("signed_in")
        if signed_in and sign_in:
            return sign_in_id(device["chain"]["family"]) == sign_in
        return signed_in

    async def _load_sign_ins(self, devices: Collection[tuple[str, str]]) -> dict[tuple[str, str], Document]:
        users = {"_id": {"$in": [bytes.fromhex(user) for user in {user for user, _ in devices}]}}
        fields = {f"devices.{device}.{field}": 1 for _, device in devices for field in ("signed_in", "chain.family")}
        with store_errors():
            by_user = {each["_id"].hex(): each.get("devices", {}) async for each in self._devices.find(users, fields)}
        return {(user, device): by_user[user][device] for user, device in devices if device in by_user.get(user, {})}


def _encode_devices(devices: AccountDevices) -> Document:
    return {
        "_id": bytes.fromhex(devices.user_id),
        "revision": devices.revision + 1,
        "devices": {key: _encode_device(each) for key, each in devices.by_id.items()},
    }


def _encode_device(device: Device) -> Document:
    fields: Document = {
        "name": device.name,
        "platform": int(device.platform),
        "created_ms": device.created_ms,
        "seen_ms": device.seen_ms,
        "signed_in": device.chain is not None,
    }
    return fields if device.chain is None else fields | {"chain": _encode_chain(device.chain)}


def _encode_chain(chain: RefreshChain) -> Document:
    return {
        "family": chain.family,
        "newest": chain.newest,
        "before": chain.previous,
        "nonce": chain.nonce,
        "rotated_ms": chain.rotated_ms,
    }


def _decode_chain(document: Document) -> RefreshChain:
    return RefreshChain(
        document["family"], document["newest"], document["before"], document["nonce"], document["rotated_ms"]
    )


def _decode_device(device_id: str, document: Document) -> Device:
    return Device(
        device_id,
        document["name"],
        Platform(document["platform"]),
        document["created_ms"],
        document["seen_ms"],
        _decode_chain(document["chain"]) if "chain" in document else None,
    )

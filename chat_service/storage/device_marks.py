"""The delivered seqs of devices, for conversations whose content is removed once all devices have received it.

`device_marks` holds one document per conversation; `_id` is its 16 bytes, and `d` holds the delivered seq of each
device. A retention sweep removes the marks of signed-out devices, so a document holds few more than the members have
devices.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from chat_service.storage.documents import encode_id
from servicekit.mongo import Database, Document, store_errors

DEVICE_MARKS: Final = "device_marks"


class MongoDeviceMarks:
    """The collection of device marks; it needs no index besides `_id`. Every method raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._marks: AsyncCollection[Document] = database[DEVICE_MARKS]

    async def raise_marks(self, marks: Mapping[str, Mapping[str, int]]) -> None:
        """Raise the delivered seqs, by conversation and device; lower ones change nothing."""
        updates = [
            UpdateOne(
                {"_id": encode_id(conversation_id)},
                {"$max": {f"d.{device}": seq for device, seq in devices.items()}},
                upsert=True,
            )
            for conversation_id, devices in marks.items()
        ]
        with store_errors():
            await self._marks.bulk_write(updates, ordered=False)

    async def load(self, conversation_id: str) -> dict[str, int]:
        """Return the delivered seqs by device; devices that never acknowledged a delivery are absent."""
        with store_errors():
            document = await self._marks.find_one({"_id": encode_id(conversation_id)})
        return dict(document["d"]) if document else {}

    async def remove_devices(self, conversation_id: str, devices: Collection[str]) -> None:
        """Remove the marks of these devices."""
        with store_errors():
            await self._marks.update_one(
                {"_id": encode_id(conversation_id)}, {"$unset": {f"d.{each}": "" for each in devices}}
            )

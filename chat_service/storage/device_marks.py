"""How far each device has got, of conversations whose content goes once all devices have it.

One document a conversation, `_id` its 16 bytes; `d` has the delivered seq of each device. A device that was signed
out is struck out by the next look for what may go, so there are never many more than members have devices.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from chat_service.storage.documents import encode_id
from chat_service.storage.mongo import Database, Document, store_errors

DEVICE_MARKS: Final = "device_marks"


class MongoDeviceMarks:
    """Every method raises StoreUnavailable. Its one index is the collection's own."""

    def __init__(self, database: Database) -> None:
        self._marks: AsyncCollection[Document] = database[DEVICE_MARKS]

    async def raise_marks(self, marks: Mapping[str, Mapping[str, int]]) -> None:
        """Raise what devices have, by conversation and device; lower ones change nothing."""
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
        """The delivered seqs of a conversation, by device; a device that never said anything is missing."""
        with store_errors():
            found = await self._marks.find_one({"_id": encode_id(conversation_id)})
        return dict(found["d"]) if found else {}

    async def remove_devices(self, conversation_id: str, devices: Collection[str]) -> None:
        """Forget devices."""
        with store_errors():
            await self._marks.update_one(
                {"_id": encode_id(conversation_id)}, {"$unset": {f"d.{each}": "" for each in devices}}
            )

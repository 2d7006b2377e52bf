"""The port to the directory of chat: who may see a file, and whether anything refers to it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Directory(Protocol):
    """The directory. Every method raises StoreUnavailable, and ServiceUnavailable if no chat server answers."""

    async def is_allowed(self, user_id: str, media_id: str) -> bool:
        """Return True if something that the user may see refers to the file."""

    async def filter_referenced(self, media_ids: Collection[str]) -> set[str]:
        """Return the files that a message, a profile or a group refers to."""

    async def is_signed_in(self, user_id: str, device_id: str) -> bool:
        """Return True if the device is signed in."""

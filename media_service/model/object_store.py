"""The port to the store of bytes: objects by key, uploads in parts, and signed addresses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of an upload that the store has: its number from 1, its size, and the store's tag of its bytes."""

    number: int
    size_bytes: int
    tag: str


class ObjectNotFound(Exception):
    """The store has no object of this key, or no upload in parts of this id."""


class ObjectStore(Protocol):
    """A bucket of objects. Every coroutine raises StoreUnavailable if the store does not answer in time.

    A call that raised StoreUnavailable may have taken effect, and a put that was cancelled may have. Keys are ASCII
    without a leading slash. An object is visible once it is complete, and not before.
    """

    async def put(self, key: str, size_bytes: int, chunks: AsyncIterable[bytes]) -> None:
        """Store an object of exactly `size_bytes`, streamed from `chunks`; replace an earlier one of that key.

        An exception that `chunks` raises is raised unchanged, and nothing is stored. Raise ValueError if `chunks` has
        more or fewer bytes than `size_bytes`; then nothing is stored either.
        """

    def read(self, key: str, offset: int = 0, length: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield `length` bytes from `offset` (None: up to the end), in chunks of at most 64 KiB.

        An object that ends earlier yields fewer bytes. Raise ObjectNotFound, ValueError if `length` is less than 1. The
        generator holds a connection: close it (`aclosing`) unless it was exhausted.
        """

    async def size_of(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if there is none."""

    async def delete(self, keys: Collection[str]) -> None:
        """Remove the objects of these keys; those that do not exist are ignored."""

    async def create_parts(self, key: str) -> str:
        """Begin an upload in parts, and return its id in the store."""

    async def list_parts(self, key: str, upload_id: str) -> list[StoredPart]:
        """Return the parts that the store has, in order of their numbers. Raise ObjectNotFound."""

    async def complete_parts(self, key: str, upload_id: str, parts: Sequence[StoredPart]) -> None:
        """Join the parts to the object. Raise ObjectNotFound if there is no such upload.

        Another call after one that took effect returns, or raises ObjectNotFound: `size_of` tells which.
        """

    async def abort_parts(self, key: str, upload_id: str | None = None) -> None:
        """Abort one upload in parts to this key (None: all), and remove its parts; one that is unknown is ignored."""

    def sign_part(self, key: str, upload_id: str, number: int, size_bytes: int, expires_s: int) -> str:
        """Return the public URL to which a client may PUT the part for `expires_s` seconds.

        The store refuses a body of any other size than `size_bytes`.
        """

    def sign_download(self, key: str, expires_s: int, content_type: str, disposition: str) -> str:
        """Return the public URL from which a client may GET the object, or a range, for `expires_s` seconds.

        The store answers with these values of `Content-Type` and `Content-Disposition`.
        """

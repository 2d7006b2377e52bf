"""Downloads: ranges of files, and signed addresses that no browser runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from media_service.access import MediaAccess
from media_service.claims import not_ready
from media_service.errors import MediaNotFound, field_invalid, media_not_found
from media_service.model.media import OPAQUE, MediaFile, MediaState, Variant, variant_key
from media_service.model.object_store import ObjectNotFound, ObjectStore
from servicekit.clock import Clock
from servicekit.errors import ContentTooLarge, StoreUnavailable

# The types that browsers show themselves and that cannot hold a script. All others are saved.
SHOWN_TYPES: Final = frozenset(
    {
        *("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif"),
        *("video/mp4", "video/webm", "video/quicktime"),
        *("audio/mpeg", "audio/mp4", "audio/ogg", "audio/opus", "audio/aac", "audio/flac", "audio/wav", "audio/x-wav"),
    }
)


@dataclass(frozen=True, slots=True)
class SignedAddress:
    """A URL that serves a file until `expire_ms`, in milliseconds since 1970."""

    url: str
    expire_ms: int


@dataclass(frozen=True, slots=True)
class FileRange:
    """A range of a variant of a file: `length` bytes from `offset`, of `total_bytes`."""

    file: MediaFile
    content_type: str
    offset: int
    length: int
    total_bytes: int
    key: str


class Downloads:
    """Opens files for users. Methods raise MediaNotFound, MediaNotReady, MediaRejected, and StoreUnavailable."""

    def __init__(
        self, access: MediaAccess, objects: ObjectStore, clock: Clock, *, range_bytes: int, url_lifetime_s: float
    ) -> None:
        self._access = access
        self._objects = objects
        self._clock = clock
        self._range_bytes = range_bytes
        self._url_lifetime_s = round(url_lifetime_s)

    async def sign_address(self, user_id: str, media_id: str, variant: Variant, *, attachment: bool) -> SignedAddress:
        """Return an address of a variant of a file. With `attachment` a browser saves the file in any case."""
        file = await self._find_ready(user_id, media_id)
        content_type, _ = _describe(file, variant)
        shown = content_type in SHOWN_TYPES
        disposition = "inline" if shown and not attachment else "attachment"
        url = self._objects.sign_download(
            variant_key(file, variant),
            self._url_lifetime_s,
            content_type if shown else OPAQUE,
            disposition + _file_name_parameter(file.description.file_name),
        )
        return SignedAddress(url, self._clock.now_ms() + self._url_lifetime_s * 1000)

    async def find_range(self, user_id: str, media_id: str, variant: Variant, offset: int, length: int) -> FileRange:
        """Return the range of `length` bytes (0: up to the end) from `offset`, cut at the end of the file.

        Raise Invalid if it begins after the end, and ContentTooLarge if it is too large for one call.
        """
        file = await self._find_ready(user_id, media_id)
        content_type, total_bytes = _describe(file, variant)
        if offset >= total_bytes:
            raise field_invalid("offset_bytes", f"must be less than {total_bytes}, the size of the file")
        length = min(length or total_bytes, total_bytes - offset)
        if length > self._range_bytes:
            raise ContentTooLarge(
                f"a call returns at most {self._range_bytes} bytes; request ranges, or use GetDownloadUrl"
            )
        return FileRange(file, content_type, offset, length, total_bytes, variant_key(file, variant))

    async def read(self, wanted: FileRange) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a range, in chunks of at most 64 KiB. Raise StoreUnavailable if the store has fewer."""
        left = wanted.length
        try:
            async with aclosing(self._objects.read(wanted.key, wanted.offset, wanted.length)) as chunks:
                async for chunk in chunks:
                    left -= len(chunk)
                    yield chunk
        except ObjectNotFound:
            # The file was removed since it was found.
            raise media_not_found() from None
        if left:
            raise StoreUnavailable("the file store returned fewer bytes than the file has")

    async def _find_ready(self, user_id: str, media_id: str) -> MediaFile:
        file = await self._access.find_visible(user_id, media_id)
        if file.state is not MediaState.READY:
            raise not_ready(file)
        return file


def _describe(file: MediaFile, variant: Variant) -> tuple[str, int]:
    """Return the media type and the size in bytes of a variant. Raise MediaNotFound if the file has none."""
    facts = file.known_facts
    if variant is Variant.ORIGINAL:
        return facts.content_type, facts.size_bytes
    stored = facts.variants.get(variant)
    if stored is None:
        raise MediaNotFound(f"the file has no {variant.name.lower()}")
    return stored.content_type, stored.size_bytes


def _file_name_parameter(file_name: str) -> str:
    """Return the parameter of Content-Disposition with the name that a browser gives the file."""
    return f"; filename*=UTF-8''{quote(file_name, safe='')}" if file_name else ""

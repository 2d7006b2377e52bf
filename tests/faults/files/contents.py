"""The contents of uploaded files: plain bytes of several sizes, and photos with private metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from secrets import token_bytes
from typing import Final

from PIL import Image

from media_service.model.media import PART_BYTES
from tests.media_files import encode, gradient
from tests.unit.media.pictures import remove

# A photo of this size has a thumbnail; a preview needs more pixels, and time.
PHOTO_SIZE: Final = (480, 320)
SECRET: Final = b"taken at 59.3293 N 18.0686 E"
SMALL_BYTES: Final = (1, 300_000)
# A part and a little more. Few files are so large: the bytes pass Envoy, and are joined by S3.
LARGE_BYTES: Final = PART_BYTES + 10_000
_FILLING: Final = token_bytes(PART_BYTES)
_PHOTO: Final = gradient(*PHOTO_SIZE)


@dataclass(frozen=True, slots=True)
class Contents:
    """The bytes that a client sends, and what the service is to store of them."""

    sent: bytes
    stored: bytes
    content_type: str

    @property
    def sha256(self) -> bytes:
        """Return the digest of the sent bytes."""
        return hashlib.sha256(self.sent).digest()

    @property
    def stored_sha256(self) -> bytes:
        """Return the digest of the stored bytes."""
        return hashlib.sha256(self.stored).digest()


def small_file(random: Random) -> Contents:
    """Return a plain file that no other one equals."""
    return _plain(16 + random.randint(*SMALL_BYTES))


def large_file(_: Random) -> Contents:
    """Return a plain file of two parts."""
    return _plain(LARGE_BYTES)


def _plain(size: int) -> Contents:
    # The beginning is of no known type.
    data = b"\0plain\0" + token_bytes(16) + _FILLING * (size // PART_BYTES)
    data = (data + _FILLING)[:size]
    return Contents(data, data, "application/pdf")


def photo(_: Random) -> Contents:
    """Return a JPEG with a position and a serial number, which the service removes."""
    exif = Image.Exif()
    exif[0x010E] = f"{SECRET.decode()} {token_bytes(8).hex()}"
    sent = encode(_PHOTO, "JPEG", exif=exif, comment=SECRET + token_bytes(8).hex().encode())
    stored = remove("image/jpeg", sent)
    assert stored is not None
    assert SECRET not in stored
    return Contents(sent, stored, "image/jpeg")


KINDS: Final[dict[Callable[[Random], Contents], float]] = {small_file: 5.0, photo: 3.0, large_file: 0.5}
"""The kinds of contents, with their weights."""


def random_contents(random: Random) -> Contents:
    """Return contents of a random kind."""
    [kind] = random.choices(list(KINDS), list(KINDS.values()))
    return kind(random)

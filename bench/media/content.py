"""The contents of the files: random bytes that are shared by all files of a size, but for the first ones."""

from __future__ import annotations

import random
from hashlib import sha256
from io import BytesIO
from typing import Final

from PIL import Image, ImageChops

MIB: Final = 1024 * 1024
PART_BYTES: Final = 8 * MIB
_NUMBER_BYTES: Final = 8
_QUALITY: Final = 90
_NOISE: Final = 12


class Contents:
    """Files of `size_bytes`, a multiple of 8 MiB. No two are identical: the service stores identical files once."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._data = random.Random(1).randbytes(size_bytes)
        self._count = 0

    def next_parts(self) -> list[list[memoryview]]:
        """Return the parts of a new file, each in pieces."""
        view, begin = memoryview(self._data), memoryview(self._next_number())
        parts = [[view[start : start + PART_BYTES]] for start in range(0, self.size_bytes, PART_BYTES)]
        return [[begin, parts[0][0][_NUMBER_BYTES:]], *parts[1:]]

    def next_chunks(self, size_bytes: int, chunk_bytes: int) -> list[bytes]:
        """Return the chunks of a new file of `size_bytes`, at most those of the other files."""
        data = self._next_number() + self._data[_NUMBER_BYTES:size_bytes]
        return [data[start : start + chunk_bytes] for start in range(0, size_bytes, chunk_bytes)]

    def _next_number(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(_NUMBER_BYTES, "big")


def digest_of(parts: list[list[memoryview]]) -> bytes:
    """Return the SHA-256 of a file."""
    digest = sha256()
    for part in parts:
        for piece in part:
            digest.update(piece)
    return digest.digest()


def make_photo(width: int, height: int) -> bytes:
    """Return a JPEG that costs about as much to decode as a photo: smooth areas, with noise as of a sensor."""
    source = random.Random(1)

    def band() -> Image.Image:
        smooth = Image.frombytes("L", (width // 50, height // 50), source.randbytes((width // 50) * (height // 50)))
        noise = Image.frombytes("L", (width, height), source.randbytes(width * height))
        grown = smooth.resize((width, height), Image.Resampling.BICUBIC)
        return ImageChops.add(grown, noise.point(lambda value: value // _NOISE))

    output = BytesIO()
    Image.merge("RGB", (band(), band(), band())).save(output, "JPEG", quality=_QUALITY)
    return output.getvalue()

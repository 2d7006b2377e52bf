"""Large files that are never in memory: any range of one is generated when it is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

CHUNK: Final = 256 * 1024
_BLOCK: Final = 16


@dataclass(frozen=True, slots=True)
class LargeFile:
    """A file of `size` bytes, which are those of a stream cipher: no two files are alike."""

    size: int
    key: bytes = field(default_factory=lambda: os.urandom(32))

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range in chunks of at most CHUNK bytes. `offset` is a multiple of 16."""
        stream = Cipher(AES(self.key), CTR((offset // _BLOCK).to_bytes(_BLOCK, "big"))).encryptor()
        for start in range(0, length, CHUNK):
            yield stream.update(bytes(min(CHUNK, length - start)))

    def sha256(self) -> bytes:
        """Return the digest of the whole file."""
        digest = sha256()
        for chunk in self.chunks(0, self.size):
            digest.update(chunk)
        return digest.digest()

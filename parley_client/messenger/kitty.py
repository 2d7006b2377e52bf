"""Pictures sent to a terminal by kitty's graphics protocol, to be drawn where their placeholders are."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

# The bound of the protocol for one escape sequence.
_CHUNK_CHARS = 4096
_MAX_ID = (1 << 24) - 1


class KittyPictures:
    """The pictures that the terminal has. `write` writes an escape sequence to it."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        # Other programs on the same terminal have their own numbers, which a random beginning avoids. 0 is no number.
        self._next_id = random.randrange(1, _MAX_ID)  # noqa: S311

    def send(self, image: Image, columns: int, rows: int) -> int:
        """Send a picture that fills so many cells; return its number, 1 to 2^24 - 1."""
        number, self._next_id = self._next_id, self._next_id % _MAX_ID + 1
        encoded = BytesIO()
        image.save(encoded, "PNG")
        payload = base64.b64encode(encoded.getvalue()).decode()
        keys = f"a=T,U=1,f=100,i={number},c={columns},r={rows},q=2"
        for offset in range(0, len(payload), _CHUNK_CHARS):
            more = int(offset + _CHUNK_CHARS < len(payload))
            self._write(f"\x1b_G{keys},m={more};{payload[offset : offset + _CHUNK_CHARS]}\x1b\\")
            keys = "q=2"
        return number

    def remove(self, number: int) -> None:
        """Free a picture."""
        self._write(f"\x1b_Ga=d,d=I,i={number},q=2\x1b\\")

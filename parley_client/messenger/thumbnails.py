"""The pictures of the messages: a blurred placeholder at once, and the thumbnail once it has been loaded."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

from parley_client.errors import ParleyError, TimedOut, TryLater
from parley_client.files import Files
from parley_client.media.facts import Media, MediaKind, MediaVariant
from parley_client.media.thumbhash import decode_thumbhash
from parley_client.message import Message
from parley_client.messenger.kitty import KittyPictures
from parley_client.messenger.pictures import PictureCells, fit_cells

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

# A few screens of pictures.
MAX_PICTURES = 64
PARALLEL_LOADS = 4
# A thumbnail has at most 320 × 320 pixels; another server might send a bomb.
MAX_PIXELS = 1 << 20
# For kitty: the pixels of a cell, about.
_CELL_WIDTH, _CELL_HEIGHT = 10, 20
_SHOWN_KINDS = (MediaKind.IMAGE, MediaKind.VIDEO)


class Thumbnails:
    """A bounded cache of pictures. `on_loaded` is called when a thumbnail has been loaded, or there is none.

    `kitty` draws thumbnails in the full resolution of the terminal; None: half blocks.
    """

    def __init__(self, files: Files, on_loaded: Callable[[], None], kitty: KittyPictures | None = None) -> None:
        self._files = files
        self._on_loaded = on_loaded
        self._kitty = kitty
        self._pictures: OrderedDict[str, PictureCells] = OrderedDict()
        self._placeholders: OrderedDict[str, PictureCells] = OrderedDict()
        self._failed: OrderedDict[str, None] = OrderedDict()
        self._loading: set[str] = set()
        self._slots = asyncio.Semaphore(PARALLEL_LOADS)

    def get(self, media: Media) -> PictureCells | None:
        """Return the thumbnail of a file, or its placeholder until that is loaded; None: it has no picture."""
        if media.kind not in _SHOWN_KINDS or media.media_id in self._failed or not media.thumbhash:
            return None
        if (loaded := self._pictures.get(media.media_id)) is not None:
            self._pictures.move_to_end(media.media_id)
            return loaded
        return self._placeholder(media)

    def picture_of(self, message: Message) -> PictureCells | None:
        """Return the picture of a message's file; None if it has none."""
        media = message.media
        return self.get(media) if media is not None else None

    def needs_load(self, media: Media) -> bool:
        """Return True if the file has a thumbnail that is neither loaded nor being loaded."""
        is_known = media.media_id in self._pictures or media.media_id in self._loading
        return not is_known and self.get(media) is not None

    async def load(self, media: Media) -> None:
        """Load a thumbnail. A file that has none, or a broken one, is shown without a picture from now on."""
        if not self.needs_load(media):
            return
        self._loading.add(media.media_id)
        try:
            async with self._slots:
                encoded = await self._files.read(media, variant=MediaVariant.THUMBNAIL)
            picture = await asyncio.to_thread(_decode, encoded)
            self._add(media, picture)
        except (TryLater, TimedOut):
            return  # it is loaded once it is visible again
        except (ParleyError, ValueError, OSError):
            _remember(self._failed, media.media_id, None)
        finally:
            self._loading.discard(media.media_id)
        self._on_loaded()

    def _add(self, media: Media, picture: Image) -> None:
        # The same cells as the placeholder, so that no line moves.
        columns, rows = fit_cells(media.width or picture.width, media.height or picture.height)
        kitty_id = 0
        if self._kitty is not None:
            scaled = picture.resize((columns * _CELL_WIDTH, rows * _CELL_HEIGHT))
            kitty_id = self._kitty.send(scaled, columns, rows)
        blocks = picture.resize((columns, rows * 2))
        cells = PictureCells(f"{media.media_id} loaded", columns, rows, blocks, kitty_id)
        dropped = _remember(self._pictures, media.media_id, cells)
        if dropped is not None and self._kitty is not None:
            self._kitty.remove(dropped.kitty_id)

    def _placeholder(self, media: Media) -> PictureCells | None:
        known = self._placeholders.get(media.media_id)
        if known is None:
            from PIL import Image

            try:
                decoded = decode_thumbhash(media.thumbhash)
            except ValueError:
                return None
            # The thumbhash knows the proportions only roughly.
            columns, rows = fit_cells(media.width or decoded.width, media.height or decoded.height)
            blurred = Image.frombytes("RGBA", (decoded.width, decoded.height), decoded.rgba)
            known = PictureCells(media.media_id, columns, rows, blurred.resize((columns, rows * 2)))
            _remember(self._placeholders, media.media_id, known)
        return known


def _decode(encoded: bytes) -> Image:
    """Return a thumbnail in RGBA. Raises OSError or ValueError if it is none."""
    from PIL import Image

    try:
        with Image.open(BytesIO(encoded), formats=("WEBP", "JPEG", "PNG")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError("the thumbnail is too large")
            return picture.convert("RGBA")
    except (SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("the thumbnail is broken") from error


def _remember(cache: OrderedDict[str, T], key: str, value: T) -> T | None:
    """Add to a cache; return the value that left it, or None."""
    cache[key] = value
    return cache.popitem(last=False)[1] if len(cache) > MAX_PICTURES else None

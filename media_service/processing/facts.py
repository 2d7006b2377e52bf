"""The facts that a worker finds in a picture or sound, and the reasons for which it finds none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

THUMBNAIL_SIDE: Final = 320
PREVIEW_SIDE: Final = 1280
"""The longest side of a thumbnail and of a preview, in pixels."""

MAX_THUMBNAIL_BYTES: Final = 256 << 10
MAX_PREVIEW_BYTES: Final = 1 << 20
MAX_REENCODED_BYTES: Final = 32 << 20


class NotDecodable(Exception):
    """The file cannot be decoded: it is damaged, takes too much time or memory, or crashes the decoder.

    The caller may keep it as a plain file.
    """


class NotAPicture(NotDecodable):
    """The file is no picture of the type that its first bytes claim."""


class TooManyPixels(Exception):
    """The picture has more pixels than a worker may decode. Nothing was decoded."""


class MetadataNotRemovable(Exception):
    """The private metadata of this picture cannot be removed: its format can neither be rewritten nor re-encoded."""


@dataclass(frozen=True, slots=True)
class Rendition:
    """A picture made from another: its media type, its size in pixels, its bytes."""

    content_type: str
    width: int
    height: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """The facts of a picture, or of a sound.

    `width` and `height` are in pixels, as shown: after the rotation that the file asks for; 0 for a sound. `duration_s`
    is the playing time of a sound in seconds; None if unknown. A picture has a `thumbhash` of up to 25 bytes, and a
    `thumbnail` in WebP (at most THUMBNAIL_SIDE pixels and MAX_THUMBNAIL_BYTES). `preview`, in WebP (at most
    PREVIEW_SIDE pixels and MAX_PREVIEW_BYTES), is None if the picture itself is not larger in pixels and in bytes.
    `reencoded` is the picture without private metadata, in its full size, of a type that cannot be rewritten without
    decoding; else None.
    """

    width: int = 0
    height: int = 0
    duration_s: float | None = None
    thumbhash: bytes = b""
    thumbnail: Rendition | None = None
    preview: Rendition | None = None
    reencoded: Rendition | None = None

"""The removal of private metadata without re-encoding, by media type."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from media_service.processing.byte_ranges import Parser, Segment
from media_service.processing.metadata.gif import plan_gif
from media_service.processing.metadata.isobmff import plan_isobmff
from media_service.processing.metadata.jpeg import plan_jpeg
from media_service.processing.metadata.matroska import plan_matroska
from media_service.processing.metadata.png import plan_png
from media_service.processing.metadata.webp import plan_webp

REMOVALS: Final = MappingProxyType[str, Callable[[int], Parser[list[Segment] | None]]](
    {
        "image/jpeg": plan_jpeg,
        "image/png": plan_png,
        "image/apng": plan_png,
        "image/gif": plan_gif,
        "image/webp": plan_webp,
        "video/mp4": plan_isobmff,
        "video/quicktime": plan_isobmff,
        "video/x-m4v": plan_isobmff,
        "video/3gpp": plan_isobmff,
        "audio/mp4": plan_isobmff,
        "audio/x-m4a": plan_isobmff,
        "video/webm": plan_matroska,
        "audio/webm": plan_matroska,
        "video/x-matroska": plan_matroska,
        "audio/x-matroska": plan_matroska,
    }
)
"""The media types of which private metadata are removed, and the parsers that plan it."""


def plan_removal(content_type: str, size_bytes: int) -> Parser[list[Segment] | None]:
    """Return the segments of the file without its private metadata.

    Return None if there is nothing to remove, or if files of this type are left as they are. Raise Malformed if the
    file is not a well-formed file of this type: then nothing is known of its metadata.
    """
    if (plan := REMOVALS.get(content_type)) is None:
        return None
    return (yield from plan(size_bytes))

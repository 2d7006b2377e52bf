"""The frames between the service and a worker process, on the worker's standard input and output.

A frame is the length of a JSON object in 4 bytes, the object, and the bytes that it announces. A worker writes READY
once; then each request (a type, a size, the file) has one answer: facts with renditions, or an outcome with a message.
Both sides use this module. The service believes nothing that a worker says beyond the bounds below, since a file may
have taken control of the worker.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from media_service.processing.facts import (
    MAX_PREVIEW_BYTES,
    MAX_REENCODED_BYTES,
    MAX_THUMBNAIL_BYTES,
    PREVIEW_SIDE,
    THUMBNAIL_SIDE,
    MetadataNotRemovable,
    NotAPicture,
    NotDecodable,
    PictureFacts,
    Rendition,
    TooManyPixels,
)

LENGTH: Final = Struct(">I")
MAX_OBJECT_BYTES: Final = 16 << 10
READY: Final = {"ready": True}

_MAX_SIDE: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class RenditionBounds:
    """The media types of a rendition, its most bytes, and the longest side in pixels."""

    content_types: frozenset[str]
    max_bytes: int
    max_side: int


# In the order of their bytes in an answer.
RENDITIONS: Final = {
    "thumbnail": RenditionBounds(frozenset({"image/webp"}), MAX_THUMBNAIL_BYTES, THUMBNAIL_SIDE),
    "preview": RenditionBounds(frozenset({"image/webp"}), MAX_PREVIEW_BYTES, PREVIEW_SIDE),
    "reencoded": RenditionBounds(frozenset({"image/avif", "image/jpeg"}), MAX_REENCODED_BYTES, _MAX_SIDE),
}
_REFUSALS: Final = {each.__name__: each for each in (NotDecodable, NotAPicture, TooManyPixels, MetadataNotRemovable)}
_MAX_DURATION_S: Final = 3.2e8
_MAX_THUMBHASH_BYTES: Final = 32
_MAX_TEXT_CHARACTERS: Final = 500


class ProtocolViolated(Exception):
    """The other side wrote something else than a frame of this protocol."""


def encode_object(message: Mapping[str, Any]) -> bytes:
    """Return the length and the JSON of an object."""
    text = json.dumps(message).encode()
    return LENGTH.pack(len(text)) + text


def decode_length(prefix: bytes) -> int:
    """Return the length of the object that follows. Raise ProtocolViolated if it is more than MAX_OBJECT_BYTES."""
    (length,) = LENGTH.unpack(prefix)
    if length > MAX_OBJECT_BYTES:
        raise ProtocolViolated(f"an object of {length} bytes")
    return int(length)


def decode_object(text: bytes) -> dict[str, Any]:
    """Return the object. Raise ProtocolViolated if the text is not one."""
    try:
        message = json.loads(text)
    except ValueError:
        raise ProtocolViolated("not JSON") from None
    if not isinstance(message, dict):
        raise ProtocolViolated("not an object")
    return message


def encode_facts(facts: PictureFacts, *, retire: bool) -> list[bytes]:
    """Return the frame of an answer in parts; `retire` says that the worker ends after it."""
    renditions = {name: getattr(facts, name) for name in RENDITIONS}
    message = {
        "width": facts.width,
        "height": facts.height,
        "duration_s": facts.duration_s,
        "thumbhash": facts.thumbhash.hex(),
        "renditions": {
            name: [each.content_type, each.width, each.height, len(each.data)]
            for name, each in renditions.items()
            if each is not None
        },
        "retire": retire,
    }
    return [encode_object(message), *(each.data for each in renditions.values() if each is not None)]


def encode_refusal(refusal: Exception, *, retire: bool) -> bytes:
    """Return the frame of an answer without facts. `refusal` is one of the exceptions of `facts.py`."""
    name = next((name for name, each in _REFUSALS.items() if type(refusal) is each), NotDecodable.__name__)
    return encode_object({"refusal": name, "message": str(refusal)[:_MAX_TEXT_CHARACTERS], "retire": retire})


def decode_refusal(answer: Mapping[str, Any]) -> Exception:
    """Return the exception that an answer without facts stands for."""
    refusal = _REFUSALS.get(str(answer["refusal"]), NotDecodable)
    return refusal(str(answer.get("message", ""))[:_MAX_TEXT_CHARACTERS])


def rendition_sizes(answer: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes in bytes of the renditions that follow, in order. Raise ProtocolViolated for too large ones."""
    listed = answer.get("renditions")
    if not isinstance(listed, dict):
        raise ProtocolViolated("no list of renditions")
    sizes = {
        name: _integer(_field(listed[name], 3), bounds.max_bytes)
        for name, bounds in RENDITIONS.items()
        if name in listed
    }
    if len(sizes) != len(listed):
        raise ProtocolViolated("unknown renditions")
    return sizes


def decode_facts(answer: Mapping[str, Any], data: Mapping[str, bytes]) -> PictureFacts:
    """Return the facts of an answer; `data` are the bytes of its renditions. Raise ProtocolViolated."""
    listed = answer["renditions"]
    renditions = {name: _decode_rendition(RENDITIONS[name], listed[name], each) for name, each in data.items()}
    return PictureFacts(
        width=_integer(answer.get("width"), _MAX_SIDE),
        height=_integer(answer.get("height"), _MAX_SIDE),
        duration_s=_duration(answer.get("duration_s")),
        thumbhash=_thumbhash(answer.get("thumbhash")),
        **renditions,
    )


def _decode_rendition(bounds: RenditionBounds, fields: object, data: bytes) -> Rendition:
    content_type = _text(_field(fields, 0))
    if content_type not in bounds.content_types:
        raise ProtocolViolated("a rendition of another type")
    width, height = (_integer(_field(fields, index), bounds.max_side) for index in (1, 2))
    return Rendition(content_type, width, height, data)


def _field(fields: object, index: int) -> object:
    if not isinstance(fields, Sequence) or isinstance(fields, str) or len(fields) != 4:
        raise ProtocolViolated("not a rendition")
    return fields[index]


def _integer(value: object, bound: int) -> int:
    if type(value) is not int or not 0 <= value <= bound:
        raise ProtocolViolated(f"not an integer from 0 to {bound}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARACTERS:
        raise ProtocolViolated("not a text")
    return value


def _duration(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= _MAX_DURATION_S:
        raise ProtocolViolated("not a duration")
    return float(value)


def _thumbhash(value: object) -> bytes:
    try:
        thumbhash = bytes.fromhex(_text(value))
    except ValueError:
        raise ProtocolViolated("not a placeholder") from None
    if len(thumbhash) > _MAX_THUMBHASH_BYTES:
        raise ProtocolViolated("a placeholder that is too long")
    return thumbhash

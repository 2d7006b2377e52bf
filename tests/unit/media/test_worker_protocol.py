"""The answers of a worker are believed within bounds, since a file may have taken control of it."""

from __future__ import annotations

from typing import Any

import pytest

from media_service.processing.facts import (
    MAX_THUMBNAIL_BYTES,
    MetadataNotRemovable,
    NotAPicture,
    NotDecodable,
    PictureFacts,
    Rendition,
    TooManyPixels,
)
from media_service.processing.worker_protocol import (
    LENGTH,
    MAX_OBJECT_BYTES,
    ProtocolViolated,
    decode_facts,
    decode_length,
    decode_object,
    decode_refusal,
    encode_facts,
    encode_object,
    encode_refusal,
    rendition_sizes,
)

FACTS = PictureFacts(
    width=40,
    height=30,
    duration_s=1.5,
    thumbhash=b"\1\2\3",
    thumbnail=Rendition("image/webp", 4, 3, b"thumbnail"),
    reencoded=Rendition("image/avif", 40, 30, b"picture"),
)


def split(frame: bytes) -> tuple[dict[str, Any], bytes]:
    length = decode_length(frame[: LENGTH.size])
    return decode_object(frame[LENGTH.size : LENGTH.size + length]), frame[LENGTH.size + length :]


def decode(frame: bytes) -> PictureFacts:
    answer, rest = split(frame)
    data = {}
    for name, size in rendition_sizes(answer).items():
        data[name], rest = rest[:size], rest[size:]
    assert rest == b""
    return decode_facts(answer, data)


def altered(**changes: Any) -> bytes:
    answer, rest = split(b"".join(encode_facts(FACTS, retire=False)))
    return encode_object({**answer, **changes}) + rest


@pytest.mark.parametrize("facts", [FACTS, PictureFacts(), PictureFacts(duration_s=0.25)])
def test_facts_come_back(facts: PictureFacts) -> None:
    assert decode(b"".join(encode_facts(facts, retire=False))) == facts


@pytest.mark.parametrize("refusal", [NotDecodable, NotAPicture, TooManyPixels, MetadataNotRemovable])
def test_refusal_comes_back_with_its_message(refusal: type[Exception]) -> None:
    answer, rest = split(encode_refusal(refusal("30000 x 30000 pixels"), retire=True))
    decoded = decode_refusal(answer)
    assert (type(decoded), str(decoded), answer["retire"], rest) == (refusal, "30000 x 30000 pixels", True, b"")


def test_exception_of_a_decoder_is_not_decodable() -> None:
    answer, _ = split(encode_refusal(OSError("x" * 100_000), retire=False))
    assert type(decode_refusal(answer)) is NotDecodable


def test_object_that_is_too_long_is_refused() -> None:
    assert decode_length(LENGTH.pack(MAX_OBJECT_BYTES)) == MAX_OBJECT_BYTES
    with pytest.raises(ProtocolViolated):
        decode_length(LENGTH.pack(MAX_OBJECT_BYTES + 1))


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b"{", b"null"])
def test_text_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolViolated):
        decode_object(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": -1},
        {"width": 1 << 40},
        {"width": True},
        {"height": "30"},
        {"height": None},
        {"duration_s": float("inf")},
        {"duration_s": float("nan")},
        {"duration_s": -1},
        {"duration_s": "1"},
        {"thumbhash": "zz"},
        {"thumbhash": "00" * 100},
        {"thumbhash": 5},
        {"renditions": None},
        {"renditions": {"thumbnail": ["image/webp", 4, 3, MAX_THUMBNAIL_BYTES + 1]}},
        {"renditions": {"thumbnail": ["image/webp", 4, 3, -1]}},
        {"renditions": {"thumbnail": ["image/webp", 4, 9]}},
        {"renditions": {"thumbnail": "abcd"}},
        {"renditions": {"thumbnail": [5, 4, 3, 16]}},
        {"renditions": {"thumbnail": ["text/html", 4, 3, 16]}},
        {"renditions": {"thumbnail": ["image/webp", 321, 3, 16]}},
        {"renditions": {"preview": ["image/webp", 4, 1281, 16]}},
        {"renditions": {"reencoded": ["image/svg+xml", 4, 3, 16]}},
        {"renditions": {"other": ["image/webp", 4, 3, 16]}},
    ],
    ids=str,
)
def test_answer_outside_its_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolViolated):
        decode(altered(**changes))

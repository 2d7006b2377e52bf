"""Placeholders decoded from ThumbHashes, compared with what the reference decoder makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_client import decode_thumbhash

# The hash, the size, and the RGBA of the first pixel, of one in the middle and of the last.
REFERENCE = {
    "wide": (
        "df070a349a707787707878788787707007f778",
        (32, 18),
        [(3, 8, 143, 255), (78, 140, 133, 255), (220, 224, 117, 255)],
    ),
    "tall": (
        "a3c8067b0a838f77778878888680f8f777",
        (14, 32),
        [(203, 11, 238, 255), (200, 69, 138, 255), (212, 221, 0, 255)],
    ),
    "alpha": (
        "1abb83050038d89878877f7798f8788c8bf807588788808958",
        (32, 32),
        [(250, 28, 38, 0), (250, 28, 38, 255), (250, 28, 38, 0)],
    ),
    "known": (
        "d507121d0467878f77578748878797875878909508",
        (23, 32),
        [(64, 78, 113, 255), (130, 101, 84, 255), (0, 4, 40, 255)],
    ),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_placeholder_equals_that_of_the_reference_decoder(name: str) -> None:
    thumbhash, (width, height), pixels = REFERENCE[name]
    placeholder = decode_thumbhash(bytes.fromhex(thumbhash))
    assert (placeholder.width, placeholder.height) == (width, height)
    middle = (height // 2 * width + width // 3) * 4
    for offset, expected in zip((0, middle, len(placeholder.rgba) - 4), pixels, strict=True):
        found = placeholder.rgba[offset : offset + 4]
        assert all(abs(a - b) <= 1 for a, b in zip(found, expected, strict=True)), (offset, tuple(found))


@given(st.binary(max_size=32))
def test_any_bytes_are_a_picture_or_an_error(thumbhash: bytes) -> None:
    try:
        placeholder = decode_thumbhash(thumbhash)
    except ValueError:
        return
    assert max(placeholder.width, placeholder.height) == 32
    assert len(placeholder.rgba) == placeholder.width * placeholder.height * 4

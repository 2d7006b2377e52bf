"""Recordings in WebM lose their private metadata where they are, and keep every block."""

from __future__ import annotations

import pytest

from media_service.processing.buffered_reader import Malformed
from media_service.processing.byte_ranges import parse_bytes
from media_service.processing.containers import read_container
from tests.unit.media.films import SECRETS
from tests.unit.media.pictures import remove
from tests.unit.media.recordings import (
    ATTACHMENTS,
    SEEK_HEAD,
    SIMPLE,
    TAGS,
    TRACKS,
    block,
    cluster,
    element,
    info,
    number,
    private_info,
    seek_head,
    tags,
    video_track,
    webm,
)

INDEX = seek_head(TRACKS, TAGS)
BLOCKS = [element(b"\xa3", block(time, b"frame%03d" % time * 40)) for time in range(9)]
ATTACHED = element(ATTACHMENTS, b"GPS-SECRET" * 100)
RECORDINGS = {
    "tags first": webm(INDEX, private_info(), element(TRACKS, video_track()), tags(), cluster(0, *BLOCKS)),
    "tags last": webm(INDEX, private_info(), element(TRACKS, video_track()), cluster(0, *BLOCKS), ATTACHED, tags()),
    "live": webm(
        info(),
        element(TRACKS, video_track()),
        *(cluster(time, *BLOCKS, unbounded=True) for time in (0, 9)),
        tags(),
        unbounded=True,
    ),
    "space": webm(info(), element(TRACKS, video_track()), element(b"\xec", b"SPACE-SECRET"), cluster(0, *BLOCKS)),
    "trailer": webm(info(), element(TRACKS, video_track()), cluster(0, *BLOCKS)) + b"TRAILER-SECRET",
}
recording_cases = pytest.mark.parametrize("data", RECORDINGS.values(), ids=RECORDINGS.keys())


@recording_cases
def test_recording_with_metadata_loses_them_and_keeps_its_blocks(data: bytes) -> None:
    assert any(secret in data for secret in SECRETS)
    result = remove("video/webm", data)
    assert result is not None
    assert [secret for secret in (*SECRETS, b"LOCATION", TAGS, b"CRC!") if secret in result] == []
    assert len(result) == len(data.removesuffix(b"TRAILER-SECRET"))
    first = data.index(BLOCKS[0])
    assert result[first : first + len(b"".join(BLOCKS))] == b"".join(BLOCKS)
    assert parse_bytes(read_container("video/webm", len(result)), result) == parse_bytes(
        read_container("video/webm", len(data)), data
    )
    assert remove("video/webm", result) is None


def test_recording_without_metadata_is_left_as_it_is() -> None:
    assert remove("video/webm", webm(seek_head(TRACKS), info(), element(TRACKS, video_track()), cluster(0))) is None


@pytest.mark.parametrize("length", [*range(5), *range(115, 135)])
def test_element_of_any_size_becomes_void_of_the_same_size(length: int) -> None:
    size = bytes([0x80 | length]) if length < 127 else (0x4000 | length).to_bytes(2, "big")
    title = b"\x7b\xa9" + size + b"T" * length
    data = webm(info(title, number(b"\x2a\xd7\xb1", 1_000_000, 4)), element(TRACKS, video_track()), cluster(5, SIMPLE))
    result = remove("video/webm", data)
    assert result is not None
    assert len(result) == len(data)
    assert title not in result
    assert result.index(TRACKS) == data.index(TRACKS)
    assert remove("video/webm", result) is None


def test_live_recording_that_was_cut_off_ends_at_its_last_whole_block() -> None:
    data = RECORDINGS["live"]
    end = data.rindex(BLOCKS[-1])
    assert remove("video/webm", data[: end + 30]) == data[:end]
    assert remove("video/webm", data[:end]) is None


def test_recording_that_is_truncated_is_refused() -> None:
    with pytest.raises(Malformed, match="exceeds its container"):
        remove("video/webm", RECORDINGS["tags first"][:-1])


def test_recording_without_tracks_is_refused() -> None:
    with pytest.raises(Malformed, match="no tracks"):
        remove("video/webm", webm(info(), SEEK_HEAD + b"\x80"))

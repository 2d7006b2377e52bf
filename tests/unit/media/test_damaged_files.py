"""Files of any bytes are refused as malformed or handled: no other error, no endless loop, no read out of bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_service.processing.buffered_reader import MAX_READS, BufferedReader, Malformed
from media_service.processing.byte_ranges import Parser, Result, parse_bytes
from media_service.processing.containers import CONTAINERS, read_container
from media_service.processing.metadata import REMOVALS, plan_removal
from tests.unit.media.films import build_film, build_fragmented, sound, telemetry, video
from tests.unit.media.pictures import join
from tests.unit.media.recordings import DURATION, SIMPLE, TRACKS, cluster, element, info, video_track, webm
from tests.unit.media.test_film_metadata import FILMS
from tests.unit.media.test_picture_metadata import SAMPLES
from tests.unit.media.test_recording_metadata import RECORDINGS as TAGGED

DRESSED = [
    *((sample.content_type, sample.dress(sample.make())) for sample in SAMPLES.values()),
    *(("video/mp4", film.data) for film in FILMS.values()),
    *(("video/webm", recording) for recording in TAGGED.values()),
    ("audio/mp4", build_film([sound()], movie_extra=build_film([sound()]).data).data),
    ("video/quicktime", build_fragmented([telemetry(), video()], base_is_fragment=False).data),
]
LIVE = webm(info(), element(TRACKS, video_track()), *[cluster(9, SIMPLE, unbounded=True)] * 3, unbounded=True)
RECORDINGS = [
    *(("video/mp4", film.data) for film in FILMS.values()),
    ("video/webm", webm(info(DURATION), element(TRACKS, video_track()), cluster(0, SIMPLE))),
    ("video/webm", LIVE),
]
MAGIC = {
    "image/jpeg": b"\xff\xd8",
    "image/png": b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\xff\0\0\0WEBPVP8X",
    "video/mp4": b"\0\0\0\x08ftyp\0\0\0\0moov",
    "video/webm": b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff",
}


@st.composite
def damaged(draw: st.DrawFn, files: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Return a file of which bytes were changed, doubled, removed, or cut off."""
    content_type, original = draw(st.sampled_from(files))
    data = bytearray(original)
    # Most headers are at the beginning or the end.
    position = st.integers(0, len(data)) | st.integers(0, 600) | st.integers(max(len(data) - 300, 0), len(data))
    for _ in range(draw(st.integers(1, 6))):
        start = min(draw(position), len(data))
        match draw(st.sampled_from(["change", "number", "insert", "remove", "cut"])):
            case "change":
                new = draw(st.binary(min_size=1, max_size=4))
                data[start : start + len(new)] = new
            case "number":
                new = draw(st.sampled_from([0, 1, 2**31 - 1, 2**32 - 1])).to_bytes(4, "big")
                data[start : start + 4] = new
            case "insert":
                data[start:start] = data[start : start + draw(st.integers(1, 64))]
            case "remove":
                del data[start : start + draw(st.integers(1, 64))]
            case _ if draw(st.integers(0, 9)) == 0:
                del data[start:]
    return content_type, bytes(data)


def run(parser: Parser[Result], data: bytes) -> Result | None:
    """Return the result of a parser, None if it refuses the file. Check that the requested ranges are few and small."""
    requests = 0
    try:
        wanted = next(parser)
        while True:
            requests += 1
            assert 0 <= wanted.offset < wanted.offset + wanted.length <= len(data)
            assert wanted.length <= 256 * 1024
            assert requests <= 200 + len(data) / 16
            wanted = parser.send(data[wanted.offset : wanted.offset + wanted.length])
    except StopIteration as stop:
        result: Result = stop.value
        return result
    except Malformed:
        return None


def check_removal(content_type: str, data: bytes) -> None:
    segments = run(plan_removal(content_type, len(data)), data)
    if segments is not None:
        cleaned = join(segments, data)
        assert run(plan_removal(content_type, len(cleaned)), cleaned) is None
        assert parse_bytes(plan_removal(content_type, len(cleaned)), cleaned) is None


@settings(max_examples=1500, deadline=None)
@given(damaged(DRESSED))
def test_damaged_file_with_metadata_is_refused_or_cleaned_for_good(file: tuple[str, bytes]) -> None:
    check_removal(*file)


@settings(max_examples=600, deadline=None)
@given(damaged(RECORDINGS))
def test_damaged_recording_is_refused_or_read(file: tuple[str, bytes]) -> None:
    content_type, data = file
    found = run(read_container(content_type, len(data)), data)
    if found is not None:
        assert 0 <= found.width <= 2**31 - 1
        assert 0 <= found.height <= 2**31 - 1
        assert 0 <= found.duration_ms <= 10 * 365 * 86_400_000


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(sorted(MAGIC)), st.binary(max_size=300), st.booleans())
def test_random_bytes_are_refused_or_handled(content_type: str, noise: bytes, has_magic: bool) -> None:
    data = (MAGIC[content_type] if has_magic else b"") + noise
    check_removal(content_type, data)
    run(read_container(content_type, len(data)), data)


@pytest.mark.parametrize("content_type", sorted({*REMOVALS, *CONTAINERS}))
def test_empty_file_is_refused(content_type: str) -> None:
    parsers: list[Callable[[], object]] = []
    if content_type in REMOVALS:
        parsers.append(lambda: parse_bytes(plan_removal(content_type, 0), b""))
    if content_type in CONTAINERS:
        parsers.append(lambda: parse_bytes(read_container(content_type, 0), b""))
    for parse in parsers:
        with pytest.raises(Malformed):
            parse()


def test_every_truncation_of_a_picture_is_refused_or_handled() -> None:
    for sample in (SAMPLES["PNG with a palette"], SAMPLES["WebP of a package"], SAMPLES["GIF"]):
        data = sample.dress(sample.make())
        for end in range(0, len(data), 3):
            check_removal(sample.content_type, data[:end])


def test_file_that_is_shorter_than_announced_is_refused() -> None:
    data = SAMPLES["PNG"].make()
    with pytest.raises(Malformed, match="shorter than announced"):
        parse_bytes(plan_removal("image/png", len(data) + 1000), data[:1000])


def test_file_of_too_many_parts_is_refused() -> None:
    reader = BufferedReader(10, max_reads=3)
    for _ in range(3):
        parse_bytes(reader.read(0, 1), bytes(10))
    with pytest.raises(Malformed, match="too many parts"):
        parse_bytes(reader.read(0, 1), bytes(10))
    assert MAX_READS > 2**20

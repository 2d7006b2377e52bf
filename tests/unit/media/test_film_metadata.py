"""Films and sounds lose their private metadata where they are: no sample moves."""

from __future__ import annotations

import io
import struct

import pytest
from tinytag import TinyTag

from media_service.processing.buffered_reader import Malformed
from media_service.processing.byte_ranges import ByteRange, parse_ranges, segments_size
from media_service.processing.metadata import plan_removal
from tests.unit.media.films import (
    SECRETS,
    XMP_UUID,
    Film,
    box,
    build_film,
    build_fragmented,
    full_box,
    handler_box,
    location_tags,
    sound,
    telemetry,
    video,
    walk,
)
from tests.unit.media.parsing import parse_bytes
from tests.unit.media.pictures import remove

PRIVATE = location_tags() + box(b"uuid", XMP_UUID, b"XMP-SECRET")
UNKNOWN = box(b"uuid", XMP_UUID, b"XMP-SECRET") + box(b"meta", bytes(4), b"GPS-SECRET") + box(b"SERI", b"SERIAL-SECRET")
SPACE = box(b"free", b"SPACE-SECRET") + box(b"skip", b"SPACE-SECRET") + box(b"wide")
FILMS = {
    "header first": build_film([video(), sound()], movie_extra=PRIVATE),
    "header last": build_film([video(), sound()], moov_first=False, movie_extra=PRIVATE, before=SPACE),
    "wide sizes": build_film([video(), sound()], wide_data=True, version=1, movie_extra=PRIVATE),
    "open end": build_film([video(), sound()], open_ended=True, movie_extra=PRIVATE),
    "tags of tracks": build_film([video(extra=PRIVATE), sound(extra=PRIVATE)], before=UNKNOWN, after=UNKNOWN),
    "telemetry": build_film([video(), sound(), telemetry()], movie_extra=PRIVATE),
    "telemetry last": build_film([telemetry(5, b"camm"), video(), telemetry(3)], moov_first=False, wide_data=True),
    "trailer": build_film([video(), sound()], movie_extra=PRIVATE, after=b"\x01\x02TRAILER-SECRET"),
    "fragments": build_fragmented([video(), sound(), telemetry()], fragment_extra=UNKNOWN),
    "fragments in a row": build_fragmented([video(), telemetry(), sound()], base_is_fragment=False),
    "sound": build_film([sound()], movie_extra=PRIVATE, before=UNKNOWN),
}
TABLES = frozenset({b"ftyp", b"hdlr", b"stsd", b"stts", b"stsc", b"stsz", b"stco", b"co64", b"trex", b"tfhd", b"trun"})
film_cases = pytest.mark.parametrize("film", FILMS.values(), ids=FILMS.keys())


@film_cases
def test_film_with_metadata_loses_them_and_no_sample_moves(film: Film) -> None:
    assert any(secret in film.data for secret in SECRETS)
    result = remove("video/mp4", film.data)
    assert result is not None
    assert [secret for secret in SECRETS if secret in result] == []
    assert len(result) == len(film.data.partition(b"\x01\x02TRAILER-SECRET")[0])
    for track_id in film.ranges.keys() & {1, 2}:
        assert film.samples(result, track_id) == film.samples(film.data, track_id)
    for track_id in film.ranges.keys() - {1, 2}:
        assert not any(b"".join(film.samples(result, track_id)))
    kept = [part for part in walk(result) if part[0] in TABLES]
    assert kept
    assert [part for part in kept if result[part[1] : part[2]] != film.data[part[1] : part[2]]] == []


@film_cases
def test_film_without_metadata_is_left_as_it_is(film: Film) -> None:
    cleaned = remove("video/quicktime", film.data)
    assert cleaned is not None
    assert remove("video/quicktime", cleaned) is None


def test_film_of_an_encoder_without_metadata_is_left_as_it_is() -> None:
    film = build_film([video(), sound()], created=0, after=box(b"free", bytes(100)))
    assert remove("video/mp4", film.data) is None


@pytest.mark.parametrize("moov_first", [True, False])
def test_offsets_of_chunks_stay(moov_first: bool) -> None:
    film = build_film([video(), telemetry(), sound()], moov_first=moov_first, movie_extra=PRIVATE)
    result = remove("video/mp4", film.data)
    assert result is not None
    tables = [(start, end) for kind, start, end in walk(result) if kind == b"stco"]
    assert len(tables) == 2
    for track_id, (start, end) in zip((1, 2), tables, strict=True):
        offsets = struct.unpack(f">{(end - start - 16) // 4}I", result[start + 16 : end])
        assert list(offsets) == [sample[0] for sample in film.ranges[track_id]][::2]


def test_sound_alone_keeps_title_and_artist_but_not_the_place() -> None:
    def item(kind: bytes, text: bytes) -> bytes:
        return box(kind, box(b"data", struct.pack(">II", 1, 0), text))

    tags = [
        item(b"\xa9nam", b"Song"),
        item(b"\xa9ART", b"Singer"),
        item(b"\xa9too", b"MAKER-SECRET"),
        box(b"----", full_box(b"mean", 0, 0, b"com.apple.iTunes"), full_box(b"name", 0, 0, b"GPS-SECRET")),
        item(b"apID", b"SERIAL-SECRET"),
    ]
    meta = full_box(b"meta", 0, 0, handler_box(b"mdir"), box(b"ilst", *tags))
    place = box(b"\xa9xyz", struct.pack(">HH", 18, 0x15C7), b"+52.5170+013.3889/")
    film = build_film([sound()], movie_extra=box(b"udta", meta, place))
    result = remove("audio/mp4", film.data)
    assert result is not None
    assert [secret for secret in SECRETS if secret in result] == []
    assert len(result) == len(film.data)
    found = TinyTag.get("song.m4a", file_obj=io.BytesIO(result))
    assert (found.title, found.artist) == ("Song", "Singer")
    assert remove("audio/mp4", result) is None


def test_telemetry_outside_of_the_data_is_refused() -> None:
    film = build_film([video(), telemetry()])
    damaged = bytearray(film.data)
    start = [part[1] for part in walk(film.data) if part[0] == b"stco"][1]
    damaged[start + 16 : start + 20] = (8).to_bytes(4, "big")
    with pytest.raises(Malformed, match="outside of the data"):
        remove("video/mp4", bytes(damaged))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (box(b"moov", b""), "empty, or compressed"),
        (box(b"ftyp", b"isom"), "no header, or several"),
        (build_film([video()]).data * 2, "no header, or several"),
        (build_film([video()]).data[:-5], "exceeds its container"),
        (box(b"html") + build_film([video()]).data, "does not begin with a box"),
    ],
)
def test_film_that_is_not_well_formed_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        remove("video/mp4", data)


async def test_large_film_is_planned_without_reading_its_samples() -> None:
    film = build_film([video(), sound()], movie_extra=PRIVATE, moov_first=False).data
    head, movie = film[:20] + struct.pack(">I4sQ", 1, b"mdat", 2**31), film[film.index(b"moov") - 4 :]
    movie_start = 20 + 2**31
    size = movie_start + len(movie)
    reads: list[ByteRange] = []

    async def read(wanted: ByteRange) -> bytes:
        reads.append(wanted)
        start, end = wanted.offset, wanted.offset + wanted.length
        before = head[start:end].ljust(max(min(end, movie_start) - start, 0), b"\0")
        return before + movie[max(start - movie_start, 0) : max(end - movie_start, 0)]

    segments = await parse_ranges(plan_removal("video/mp4", size), read)
    assert segments is not None
    assert segments_size(segments) == size
    assert sum(wanted.length for wanted in reads) <= 64 * 1024
    assert len(reads) <= 4
    assert len(segments) < 50


def test_file_of_another_type_is_left_as_it_is() -> None:
    assert parse_bytes(plan_removal("application/octet-stream", 10), b"GPS-SECRET") is None

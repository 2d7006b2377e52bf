"""Films and sounds built box by box, with known places of their samples."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

UPRIGHT = (1, 0, 0, 1)
QUARTER_TURN = (0, 1, -1, 0)
CREATED = 0xE2345678
SECRETS = (
    b"GPS-SECRET",
    b"+52.5170+013.3889/",
    b"SERIAL-SECRET",
    b"MAKER-SECRET",
    b"XMP-SECRET",
    b"TRAILER-SECRET",
    b"SPACE-SECRET",
    CREATED.to_bytes(4, "big"),
)
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


@dataclass(frozen=True, slots=True)
class Track:
    """A track: its samples in order, two to a chunk, and what its header says."""

    track_id: int
    handler: bytes
    samples: tuple[bytes, ...]
    width: int = 0
    height: int = 0
    matrix: tuple[int, int, int, int] = UPRIGHT
    timescale: int = 1000
    sample_duration: int = 100
    flags: int = 1
    extra: bytes = b""
    same_size: bool = False


@dataclass(slots=True)
class Film:
    """The bytes of a film, and the offsets and lengths of the samples of each track."""

    data: bytes
    ranges: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def samples(self, data: bytes, track_id: int) -> list[bytes]:
        return [data[start : start + length] for start, length in self.ranges[track_id]]


def box(kind: bytes, *contents: bytes) -> bytes:
    payload = b"".join(contents)
    return struct.pack(">I4s", len(payload) + 8, kind) + payload


def wide_box(kind: bytes, *contents: bytes) -> bytes:
    payload = b"".join(contents)
    return struct.pack(">I4sQ", 1, kind, len(payload) + 16) + payload


def full_box(kind: bytes, version: int, flags: int, *contents: bytes) -> bytes:
    return box(kind, bytes([version]) + flags.to_bytes(3, "big"), *contents)


def video(track_id: int = 1, **options: object) -> Track:
    samples = tuple(b"VIDEO%d-%02d" % (track_id, index) * (index + 1) for index in range(7))
    return Track(track_id, b"vide", samples, **{"width": 640, "height": 360, **options})  # type: ignore[arg-type]


def sound(track_id: int = 2, **options: object) -> Track:
    samples = tuple(b"SOUND%d-%02d" % (track_id, index) for index in range(9))
    return Track(track_id, b"soun", samples, same_size=True, **options)  # type: ignore[arg-type]


def telemetry(track_id: int = 3, handler: bytes = b"meta", **options: object) -> Track:
    samples = tuple(b"GPS-SECRET +52.5170+013.3889/ %02d" % index * (index % 3 + 1) for index in range(6))
    return Track(track_id, handler, samples, **options)  # type: ignore[arg-type]


def times(version: int, created: int = CREATED) -> bytes:
    return struct.pack(">QQ" if version else ">II", created, created)


def movie_header(timescale: int, duration: int, version: int = 0, created: int = CREATED) -> bytes:
    clock = struct.pack(">IQ" if version else ">II", timescale, duration)
    return full_box(b"mvhd", version, 0, times(version, created), clock, bytes(80))


def track_header(track: Track, version: int = 0, created: int = CREATED) -> bytes:
    number = struct.pack(">IIQ" if version else ">III", track.track_id, 0, 0)
    a, b, c, d = (entry << 16 for entry in track.matrix)
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    size = struct.pack(">II", track.width << 16, track.height << 16)
    return full_box(b"tkhd", version, track.flags, times(version, created), number, bytes(16), matrix, size)


def media_header(track: Track, version: int = 0, created: int = CREATED) -> bytes:
    duration = track.sample_duration * len(track.samples)
    clock = struct.pack(">IQ" if version else ">II", track.timescale, duration)
    return full_box(b"mdhd", version, 0, times(version, created), clock, bytes(4))


def handler_box(handler: bytes) -> bytes:
    return full_box(b"hdlr", 0, 0, bytes(4), handler, bytes(12), b"handler\0")


def location_tags() -> bytes:
    """Return user data as phones write them: place, maker, model, and the same under the keys of QuickTime."""
    keys = full_box(b"keys", 0, 0, struct.pack(">I", 1), box(b"mdta", b"com.apple.quicktime.location.ISO6709"))
    item = box(struct.pack(">I", 1), box(b"data", struct.pack(">II", 1, 0), b"+52.5170+013.3889/"))
    return box(
        b"udta",
        box(b"\xa9xyz", struct.pack(">HH", 18, 0x15C7), b"+52.5170+013.3889/"),
        full_box(b"loci", 0, 0, b"\0\0GPS-SECRET\0"),
        box(b"\xa9mak", b"MAKER-SECRET"),
        box(b"XMP_", b"XMP-SECRET"),
        box(b"meta", handler_box(b"mdta"), keys, box(b"ilst", item)),
        bytes(4),
    )


def chunks_of(track: Track, size: int = 2) -> list[tuple[bytes, ...]]:
    return [track.samples[start : start + size] for start in range(0, len(track.samples), size)]


def sample_table(track: Track, offsets: Sequence[int], *, wide_offsets: bool = False) -> bytes:
    counts = [len(chunk) for chunk in chunks_of(track)]
    runs = [(index + 1, count) for index, count in enumerate(counts) if index == 0 or counts[index - 1] != count]
    sizes = [len(sample) for sample in track.samples]
    same = sizes[0] if track.same_size else 0
    entry = box(b"mp4v", bytes(24), struct.pack(">HH", track.width, track.height), bytes(50))
    return box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        full_box(b"stts", 0, 0, struct.pack(">III", 1, len(sizes), track.sample_duration)),
        full_box(b"stsc", 0, 0, struct.pack(">I", len(runs)), *(struct.pack(">III", *run, 1) for run in runs)),
        full_box(
            b"stsz", 0, 0, struct.pack(">II", same, len(sizes)), b"" if same else struct.pack(f">{len(sizes)}I", *sizes)
        ),
        full_box(
            b"co64" if wide_offsets else b"stco",
            0,
            0,
            struct.pack(f">I{len(offsets)}{'Q' if wide_offsets else 'I'}", len(offsets), *offsets),
        ),
    )


def track_box(track: Track, table: bytes, version: int = 0, created: int = CREATED) -> bytes:
    media = box(
        b"mdia",
        media_header(track, version, created),
        handler_box(track.handler),
        box(b"minf", full_box(b"vmhd", 0, 1, bytes(8)), box(b"dinf"), table),
    )
    return box(b"trak", track_header(track, version, created), media, track.extra)


def build_film(
    tracks: Sequence[Track],
    *,
    moov_first: bool = True,
    wide_data: bool = False,
    open_ended: bool = False,
    version: int = 0,
    created: int = CREATED,
    movie_extra: bytes = b"",
    before: bytes = b"",
    after: bytes = b"",
    timescale: int = 1000,
    duration: int = 900,
) -> Film:
    """Return a film whose chunks are interleaved in one box `mdat`, before or after its header."""
    film = Film(b"", {track.track_id: [] for track in tracks})
    chunks, offsets = _interleave(tracks, film)
    head = box(b"ftyp", b"isom\0\0\0\1isom") + before
    data_header = 16 if wide_data else 8

    def header(shift: int) -> bytes:
        boxes = [
            track_box(
                track,
                sample_table(track, [shift + offset for offset in offsets[track.track_id]], wide_offsets=wide_data),
                version,
                created,
            )
            for track in tracks
        ]
        return box(b"moov", movie_header(timescale, duration, version, created), *boxes, movie_extra)

    shift = len(head) + data_header + (len(header(0)) if moov_first else 0)
    data = (wide_box if wide_data else box)(b"mdat", chunks)
    if open_ended:
        data = bytes(4) + data[4:]
    parts = (header(shift), data, after) if moov_first else (data, header(shift), after)
    film.data = head + b"".join(parts)
    for ranges in film.ranges.values():
        ranges[:] = [(start + shift, length) for start, length in ranges]
    return film


def _interleave(tracks: Sequence[Track], film: Film) -> tuple[bytes, dict[int, list[int]]]:
    data = b""
    offsets: dict[int, list[int]] = {track.track_id: [] for track in tracks}
    rest: dict[int, Iterator[tuple[bytes, ...]]] = {track.track_id: iter(chunks_of(track)) for track in tracks}
    while rest:
        for track_id in list(rest):
            chunk = next(rest[track_id], None)
            if chunk is None:
                del rest[track_id]
                continue
            offsets[track_id].append(len(data))
            for sample in chunk:
                film.ranges[track_id].append((len(data), len(sample)))
                data += sample
    return data, offsets


def build_fragmented(
    tracks: Sequence[Track],
    *,
    base_is_fragment: bool = True,
    states_duration: bool = False,
    fragment_extra: bytes = b"",
    states_start: bool = True,
) -> Film:
    """Return a film in fragments of one chunk of each track, as recorders that stream write it."""
    film = Film(b"", {track.track_id: [] for track in tracks})
    empty = [track_box(replace(track, samples=(b"0",), sample_duration=0), box(b"stbl")) for track in tracks]
    defaults = [
        full_box(b"trex", 0, 0, struct.pack(">5I", track.track_id, 1, track.sample_duration, len(track.samples[0]), 0))
        for track in tracks
    ]
    stated = [full_box(b"mehd", 0, 0, struct.pack(">I", 4321))] if states_duration else []
    film.data = box(b"ftyp", b"iso5\0\0\0\1iso5")
    film.data += box(b"moov", movie_header(1000, 0), *empty, box(b"mvex", *stated, *defaults))
    for index in range(max(len(chunks_of(track)) for track in tracks)):
        _add_fragment(film, tracks, index, base_is_fragment, fragment_extra, states_start)
    return film


def _add_fragment(
    film: Film, tracks: Sequence[Track], index: int, base_is_fragment: bool, extra: bytes, states_start: bool
) -> None:
    present = [track for track in tracks if index < len(chunks_of(track))]

    def fragment(offsets: list[int]) -> bytes:
        parts = []
        for track, offset in zip(present, offsets, strict=True):
            chunk = chunks_of(track)[index]
            start = full_box(b"tfdt", 1, 0, struct.pack(">Q", 2 * index * track.sample_duration))
            run_flags = 0x1 | (0 if track.same_size else 0x200)
            sizes = b"" if track.same_size else struct.pack(f">{len(chunk)}I", *(len(sample) for sample in chunk))
            run = full_box(b"trun", 0, run_flags, struct.pack(">Ii", len(chunk), offset), sizes)
            header = full_box(b"tfhd", 0, 0x20000 if base_is_fragment else 0, struct.pack(">I", track.track_id))
            parts.append(box(b"traf", header, start if states_start else b"", run))
        return box(b"moof", full_box(b"mfhd", 0, 0, struct.pack(">I", index + 1)), *parts, extra)

    length = len(fragment([0] * len(present)))
    data, offsets = b"", []
    for track in present:
        offsets.append(length + 8 + len(data) if base_is_fragment or track is present[0] else 0)
        for sample in chunks_of(track)[index]:
            film.ranges[track.track_id].append((len(film.data) + length + 8 + len(data), len(sample)))
            data += sample
    film.data += fragment(offsets) + box(b"mdat", data)


def walk(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the boxes of a film and of the containers in it. Fail if one exceeds another."""
    end = len(data) if end is None else end
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        payload = start + 8
        if size == 1:
            (size,), payload = struct.unpack_from(">Q", data, payload), start + 16
        size = size or end - start
        assert payload <= start + size <= end
        yield kind, start, start + size
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex"):
            yield from walk(data, payload, start + size)
        start += size

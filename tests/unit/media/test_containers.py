"""The facts of films and sounds: dimensions as shown, playing time, and whether there is a film track."""

from __future__ import annotations

import struct

import pytest

from media_service.processing.buffered_reader import Malformed
from media_service.processing.byte_ranges import parse_bytes
from media_service.processing.container_facts import ContainerFacts
from media_service.processing.containers import read_container
from tests.unit.media.films import (
    QUARTER_TURN,
    box,
    build_film,
    build_fragmented,
    sound,
    telemetry,
    video,
)
from tests.unit.media.recordings import (
    CLUSTER,
    DURATION,
    SIMPLE,
    SOUND_TRACK,
    TRACKS,
    block,
    cluster,
    element,
    info,
    number,
    video_track,
    webm,
)


def facts(data: bytes, content_type: str = "video/mp4") -> ContainerFacts:
    found = parse_bytes(read_container(content_type, len(data)), data)
    assert found is not None
    return found


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("moov_first", [True, False])
def test_film_has_the_dimensions_and_the_time_of_its_headers(version: int, moov_first: bool) -> None:
    film = build_film([sound(), video(4)], version=version, moov_first=moov_first, timescale=600, duration=1500)
    assert facts(film.data) == ContainerFacts(640, 360, 2500, has_video=True)


@pytest.mark.parametrize("matrix", [QUARTER_TURN, (0, -1, 1, 0)])
def test_film_on_its_side_has_its_dimensions_exchanged(matrix: tuple[int, int, int, int]) -> None:
    assert facts(build_film([video(matrix=matrix)]).data) == ContainerFacts(360, 640, 900, has_video=True)


def test_film_upside_down_keeps_its_dimensions() -> None:
    assert facts(build_film([video(matrix=(-1, 0, 0, -1))]).data).width == 640


def test_sound_has_no_dimensions() -> None:
    assert facts(build_film([sound(), telemetry()]).data, "audio/mp4") == ContainerFacts(0, 0, 900, has_video=False)


def test_disabled_film_track_is_not_shown() -> None:
    film = build_film([video(1, flags=0), sound(), video(3, width=32, height=16)])
    assert facts(film.data) == ContainerFacts(32, 16, 900, has_video=True)
    assert not facts(build_film([video(flags=0), sound()]).data).has_video
    assert facts(build_film([video(flags=0), sound(flags=0)]).data).has_video


def test_film_without_dimensions_in_its_header_has_those_of_its_samples() -> None:
    film = bytearray(build_film([video()]).data)
    size = struct.pack(">II", 640 << 16, 360 << 16)
    start = film.index(size)
    film[start : start + 8] = bytes(8)
    assert facts(bytes(film)) == ContainerFacts(640, 360, 900, has_video=True)


@pytest.mark.parametrize(("timescale", "duration"), [(0, 900), (1000, 0), (1000, 2**32 - 1), (1, 2**32 - 2)])
def test_film_with_an_impossible_time_has_that_of_its_longest_track(timescale: int, duration: int) -> None:
    film = build_film([video(), sound()], timescale=timescale, duration=duration)
    assert facts(film.data).duration_ms == 900


def test_film_with_zero_timescales_has_no_time() -> None:
    film = build_film([video(timescale=0)], timescale=0)
    assert facts(film.data) == ContainerFacts(640, 360, 0, has_video=True)


@pytest.mark.parametrize("states_start", [True, False])
@pytest.mark.parametrize("base_is_fragment", [True, False])
def test_film_in_fragments_has_the_time_of_its_last_one(states_start: bool, base_is_fragment: bool) -> None:
    film = build_fragmented([video(), sound()], states_start=states_start, base_is_fragment=base_is_fragment)
    assert facts(film.data) == ContainerFacts(640, 360, 900, has_video=True)


def test_film_in_fragments_has_the_time_that_it_states() -> None:
    assert facts(build_fragmented([video()], states_duration=True).data).duration_ms == 4321


def test_film_without_a_header_is_refused() -> None:
    with pytest.raises(Malformed, match="no header"):
        facts(box(b"ftyp", b"isom"))


def test_container_of_another_type_has_no_facts() -> None:
    assert parse_bytes(read_container("audio/ogg", 4), b"OggS") is None


def test_webm_has_the_dimensions_and_the_time_of_its_headers() -> None:
    data = webm(info(DURATION), element(TRACKS, SOUND_TRACK, video_track()), cluster(0, SIMPLE))
    assert facts(data, "video/webm") == ContainerFacts(1280, 720, 2500, has_video=True)


def test_duration_of_webm_is_counted_in_its_timescale() -> None:
    short = b"\x44\x89\x84" + struct.pack(">f", 300.0)
    data = webm(info(number(b"\x2a\xd7\xb1", 10_000_000, 4), short), element(TRACKS, SOUND_TRACK))
    assert facts(data, "audio/webm") == ContainerFacts(0, 0, 3000, has_video=False)


@pytest.mark.parametrize("scale", [0, 2**64 - 1])
def test_webm_with_an_impossible_timescale_has_no_time(scale: int) -> None:
    data = webm(info(number(b"\x2a\xd7\xb1", scale, 8), DURATION), element(TRACKS, SOUND_TRACK))
    assert facts(data, "audio/webm").duration_ms == 0


@pytest.mark.parametrize("duration", [float("nan"), float("inf"), -1.0, 1e300])
def test_webm_with_an_impossible_duration_has_no_time(duration: float) -> None:
    data = webm(info(b"\x44\x89\x88" + struct.pack(">d", duration)), element(TRACKS, SOUND_TRACK))
    assert facts(data, "audio/webm").duration_ms == 0


def test_webm_as_shown_is_cropped_stretched_or_turned() -> None:
    def shown(*more: bytes) -> tuple[int, int]:
        found = facts(webm(info(DURATION), element(TRACKS, video_track(*more))), "video/webm")
        return found.width, found.height

    assert shown(number(b"\x54\xbb", 20), number(b"\x54\xaa", 10)) == (1280, 690)
    assert shown(number(b"\x54\xb0", 1920), number(b"\x54\xba", 1080)) == (1920, 1080)
    assert shown(number(b"\x54\xb0", 16), number(b"\x54\xba", 9), number(b"\x54\xb2", 3, 1)) == (1280, 720)
    assert shown(element(b"\x76\x70", b"\x76\x75\x84" + struct.pack(">f", -90.0))) == (720, 1280)


@pytest.mark.parametrize("unbounded", [True, False])
def test_live_recording_has_the_time_of_its_last_block(unbounded: bool) -> None:
    last = element(b"\xa0", element(b"\xa1", block(-20)))
    data = webm(
        info(),
        element(TRACKS, video_track()),
        cluster(0, SIMPLE, element(b"\xa3", block(40)), unbounded=unbounded),
        cluster(5000, SIMPLE, element(b"\xa3", block(720, CLUSTER * 100)), last, unbounded=unbounded),
        unbounded=True,
    )
    assert facts(data, "video/webm") == ContainerFacts(1280, 720, 5720, has_video=True)


def test_live_recording_that_was_cut_off_has_the_time_of_its_last_whole_block() -> None:
    frames = [element(b"\xa3", block(time, bytes(1000))) for time in range(0, 30_000, 40)]
    data = webm(info(), element(TRACKS, video_track()), cluster(9, *frames, unbounded=True), unbounded=True)
    assert facts(data[:-10], "video/webm").duration_ms == 29_929


def test_webm_without_tracks_is_refused() -> None:
    with pytest.raises(Malformed, match="no tracks"):
        facts(webm(info(DURATION), cluster(0, SIMPLE)), "video/webm")

"""The playing time of sounds."""

from __future__ import annotations

import wave
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_service.processing.detection import SOUND_TYPES, detect
from media_service.processing.sounds import read_duration
from tests.media_files import read_sample


def adts_frame(payload: int, *, frequency: int = 4) -> bytes:
    """Return a frame of AAC: `payload` bytes of silence at the frequency of this index (4: 44,100 Hz)."""
    length = 7 + payload
    fields = ((0xFFF, 12), (1, 4), (1, 2), (frequency, 4), (0, 1), (2, 3), (0, 4), (length, 13), (0x7FF, 11), (0, 2))
    bits = 0
    for value, width in fields:
        bits = bits << width | value
    return bits.to_bytes(7, "big") + bytes(payload)


@pytest.mark.parametrize("name", ["house_lo.mp3", "house_lo.ogg", "house_lo.opus", "house_lo.flac", "house_lo.wav"])
def test_real_sound_has_its_duration(name: str) -> None:
    data = read_sample(name)
    assert read_duration(detect(data), data) == pytest.approx(7.1, abs=0.2)


def test_silence_of_two_seconds_has_its_duration() -> None:
    output = BytesIO()
    with wave.open(output, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 8000 * 2))
    assert read_duration("audio/wav", output.getvalue()) == 2.0


def test_aac_has_the_duration_of_its_frames() -> None:
    data = adts_frame(100) * 43
    assert detect(data) == "audio/aac"
    assert read_duration("audio/aac", data) == pytest.approx(43 * 1024 / 44_100)


def test_aac_ends_at_the_first_bytes_that_are_no_frame() -> None:
    assert read_duration("audio/aac", adts_frame(10) + bytes(50) + adts_frame(10)) == pytest.approx(1024 / 44_100)


def test_file_that_is_no_sound_has_no_duration() -> None:
    assert read_duration("audio/mpeg", b"<html>" * 100) is None
    assert read_duration("audio/aac", b"\xff\xf1") is None
    assert read_duration("audio/flac", b"fLaC") is None


@given(
    st.sampled_from(sorted(SOUND_TYPES)),
    st.sampled_from([b"ID3", b"fLaC\0\0\0\x22", b"OggS\0", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x20ftypM4A ", b"\xff\xf1"]),
    st.binary(max_size=200),
)
def test_any_bytes_have_a_duration_or_none(content_type: str, magic: bytes, tail: bytes) -> None:
    duration = read_duration(content_type, magic + tail)
    assert duration is None or duration > 0

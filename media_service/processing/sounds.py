"""The playing time of sounds."""

from __future__ import annotations

from io import BytesIO
from math import isfinite
from typing import Final

from tinytag import TinyTag, TinyTagException

# By ISO 14496-3: the frequencies in Hz by their index, and the samples in a block of a frame.
_AAC_FREQUENCIES: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_BLOCK_SAMPLES: Final = 1024
_ADTS_HEADER_BYTES: Final = 7


def read_duration(content_type: str, data: bytes) -> float | None:
    """Return the playing time in seconds of a sound of this type; None if the file does not tell."""
    duration = _read_adts_duration(data) if content_type == "audio/aac" else _read_tagged_duration(data)
    return duration if duration is not None and isfinite(duration) and duration > 0 else None


def _read_tagged_duration(data: bytes) -> float | None:
    try:
        return TinyTag.get(file_obj=BytesIO(data), tags=False).duration
    except TinyTagException:
        return None


def _read_adts_duration(data: bytes) -> float | None:
    """Return the sum of the durations of the frames, up to the first bytes that are no frame."""
    offset, seconds = 0, 0.0
    while offset + _ADTS_HEADER_BYTES <= len(data):
        header = int.from_bytes(data[offset : offset + _ADTS_HEADER_BYTES], "big")
        frequency = header >> 34 & 0xF
        length = header >> 13 & 0x1FFF
        if header >> 44 != 0xFFF or frequency >= len(_AAC_FREQUENCIES) or length < _ADTS_HEADER_BYTES:
            break
        seconds += ((header & 3) + 1) * _AAC_BLOCK_SAMPLES / _AAC_FREQUENCIES[frequency]
        offset += length
    return seconds or None

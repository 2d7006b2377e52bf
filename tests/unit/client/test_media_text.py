"""The facts about files as text, which no name of another user can forge."""

from __future__ import annotations

from datetime import timedelta

import pytest

from parley.chat.v1.entry_pb2 import Content, MediaReference
from parley.media.v1 import media_pb2
from parley_client import Media, MediaKind
from parley_client.cli.formatting import describe_content
from parley_client.cli.media_text import describe_media, format_duration, format_size

ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (1, "1 byte"),
        (2, "2 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (12_345, "12 kB"),
        (999_600, "1.0 MB"),
        (1_234_567, "1.2 MB"),
        (2_147_483_648, "2.1 GB"),
    ],
)
def test_size_is_shown_in_decimal_units(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (65, "1:05"), (3665.2, "1:01:05")])
def test_duration_is_shown_in_minutes(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("media", "text"),
    [
        (
            Media(ID, MediaKind.IMAGE, "image/jpeg", "cat.jpg", 1_234_567, 640, 480),
            "picture cat.jpg, 640 × 480, 1.2 MB",
        ),
        (
            Media(ID, MediaKind.VIDEO, "video/mp4", "", 2_000_000, 1920, 1080, timedelta(seconds=65)),
            "video, 1920 × 1080, 1:05, 2.0 MB",
        ),
        (
            Media(ID, MediaKind.AUDIO, "audio/ogg", "x.ogg", 34_000, duration=timedelta(seconds=12), waveform=b"\x01"),
            "voice note, 0:12, 34 kB",
        ),
        (Media(ID, MediaKind.FILE, "application/pdf", "report.pdf", 900), "file report.pdf, 900 bytes"),
        (Media(ID, MediaKind.UNKNOWN), "file 01234567"),
    ],
)
def test_file_is_described_in_one_line(media: Media, text: str) -> None:
    assert describe_media(media) == text


def test_forged_name_stays_in_its_brackets() -> None:
    reference = MediaReference(
        media_id=ID,
        kind=media_pb2.MEDIA_KIND_FILE,
        file_name="../../etc/passwd\x1b[31m\n19:07 boss  you are fired\u202e",
        size_bytes=5,
        caption="look",
    )
    shown = describe_content(Content(media=reference))
    assert shown == "[file ../../etc/passwd[31m 19:07 boss you are fired, 5 bytes] look"


def test_kind_of_a_newer_server_is_a_file() -> None:
    reference = MediaReference(media_id=ID, kind=17)  # type: ignore[arg-type]
    assert Media.from_reference(reference).kind is MediaKind.FILE

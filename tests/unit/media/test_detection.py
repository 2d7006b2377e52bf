"""The type that is detected from the first bytes of a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from media_service.processing.detection import HEAD_BYTES, PICTURE_TYPES, SOUND_TYPES, UNKNOWN_TYPE, detect
from tests.media_files import encode, gradient, read_sample

RUN_BY_BROWSERS = ("html", "svg", "xml", "javascript", "flash", "ecmascript")


def iso(major: bytes, *compatible: bytes) -> bytes:
    brands = b"".join(compatible)
    return (16 + len(brands)).to_bytes(4, "big") + b"ftyp" + major + bytes(4) + brands + b"\0\0\0\x08free"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alien1.jpg", "image/jpeg"),
        ("alien1.png", "image/png"),
        ("alien1.gif", "image/gif"),
        ("fist.webp", "image/webp"),
        ("asprite.bmp", "image/bmp"),
        ("peppers3.tif", "image/tiff"),
        ("house_lo.mp3", "audio/mpeg"),
        ("metadata.mp3", "audio/mpeg"),
        ("house_lo.ogg", "audio/ogg"),
        ("house_lo.opus", "audio/ogg"),
        ("house_lo.flac", "audio/flac"),
        ("house_lo.wav", "audio/wav"),
        ("teal.svg", UNKNOWN_TYPE),
        ("attributions.txt", UNKNOWN_TYPE),
    ],
)
def test_real_file_has_its_type(name: str, expected: str) -> None:
    assert detect(read_sample(name)) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (iso(b"avif", b"mif1"), "image/avif"),
        (iso(b"avis", b"avif"), "image/avif"),
        (iso(b"heic", b"mif1"), "image/heic"),
        (iso(b"heix", b"mif1"), "image/heic"),
        (iso(b"mif1", b"miaf", b"heic"), "image/heic"),
        (iso(b"mif1", b"miaf", b"avif"), "image/avif"),
        (iso(b"mif1"), UNKNOWN_TYPE),
        (iso(b"M4A ", b"mp42", b"isom"), "audio/mp4"),
        (iso(b"qt  "), "video/quicktime"),
        (iso(b"isom", b"iso2", b"avc1"), "video/mp4"),
        (iso(b"mp42"), "video/mp4"),
        (iso(b"XAVC", b"XAVC", b"mp42"), "video/mp4"),
        (iso(b"3gp5", b"isom"), "video/3gpp"),
        (iso(b"jxl "), UNKNOWN_TYPE),
        (b"\0\0\0\x08wide\0\0\x10\0mdat", "video/quicktime"),
    ],
)
def test_iso_file_has_the_type_of_its_brands(head: bytes, expected: str) -> None:
    assert detect(head) == expected


def test_brand_behind_the_end_of_its_box_is_not_read() -> None:
    assert detect(iso(b"mif1") + b"heic") == UNKNOWN_TYPE


@pytest.mark.parametrize(
    ("document_type", "expected"),
    [
        (b"\x42\x82\x84webm", "video/webm"),
        (b"\x42\x82\x01\0\0\0\0\0\0\x04webm", "video/webm"),
        (b"\x42\x82\x88matroska", "video/x-matroska"),
        (b"\x42\x82\x84nope", UNKNOWN_TYPE),
    ],
)
def test_webm_is_told_from_matroska(document_type: bytes, expected: str) -> None:
    assert detect(b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01" + document_type) == expected


def test_matroska_with_webm_in_its_frames_stays_matroska() -> None:
    head = b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska" + bytes(200) + b"\x42\x82\x84webm"
    assert detect(head) == "video/x-matroska"


def test_animated_png_is_a_png() -> None:
    frames = [gradient(8, 8), gradient(8, 8).rotate(90)]
    data = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert b"acTL" in data
    assert detect(data) == "image/png"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "application/pdf"),
        (b"PK\x03\x04\x14\0" + bytes(40), "application/zip"),
        (b"\x1f\x8b\x08" + bytes(20), "application/gzip"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(20), "application/x-7z-compressed"),
    ],
)
def test_documents_and_archives_have_their_types(head: bytes, expected: str) -> None:
    assert detect(head) == expected


@pytest.mark.parametrize(
    "head",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"<!DOCTYPE html><html><script>alert(1)</script>",
        b"\xef\xbb\xbf<html>",
        b"  \n<script>",
        b"CWS\x09" + bytes(20),
        b"MZ" + bytes(60),
        b"\x7fELF" + bytes(60),
        b"plain text",
        b"\xff\xfb\xff\xff",
        b"",
        b"\0",
    ],
)
def test_file_that_could_run_or_is_unknown_is_a_plain_file(head: bytes) -> None:
    assert detect(head) == UNKNOWN_TYPE


@pytest.mark.parametrize("format_name", ["JPEG", "GIF"])
def test_picture_that_is_also_html_or_zip_is_the_picture(format_name: str) -> None:
    data = encode(gradient(16, 16).convert("L"), format_name, comment=b"<html><script>alert(1)</script>")
    assert detect(data + b"PK\x03\x04" + bytes(100)) == f"image/{format_name.lower()}"


def test_only_the_head_counts() -> None:
    data = encode(gradient(64, 64), "PNG")
    assert detect(data[:HEAD_BYTES]) == detect(data + bytes(HEAD_BYTES)) == "image/png"


@given(st.binary(max_size=64), st.sampled_from([b"", b"\0\0\0\x20ftyp", b"\x1a\x45\xdf\xa3", b"OggS", b"PK\x03\x04"]))
def test_any_bytes_have_a_type_that_no_browser_runs(tail: bytes, magic: bytes) -> None:
    found = detect(magic + tail)
    assert not any(word in found for word in RUN_BY_BROWSERS)
    assert found.count("/") == 1


def test_types_of_pictures_and_sounds_are_detected() -> None:
    pictures = {detect(encode(Image.new("RGB", (4, 4)), name)) for name in ("AVIF", "GIF", "JPEG", "PNG", "WEBP")}
    assert pictures == PICTURE_TYPES - {"image/heic"}
    assert all(each.startswith("audio/") for each in SOUND_TYPES)

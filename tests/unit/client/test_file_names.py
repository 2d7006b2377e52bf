"""Names of files: those of others cannot leave a folder or hide in it, and one's own keep the contract."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.media.v1 import media_pb2
from parley_client.media.file_names import numbered_paths, safe_name, sendable_name
from servicekit.validation import check


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo.jpg", "photo.jpg"),
        ("Urlaub 2026 – Strand.jpg", "Urlaub 2026 – Strand.jpg"),
        ("../../etc/passwd\x1b[31m", "_.._etc_passwd[31m"),
        ("..\\..\\boot.ini", "_.._boot.ini"),
        (".bashrc", "bashrc"),
        ("...", "01234567.jpg"),
        ("", "01234567.jpg"),
        ("\u2800\u3164", "01234567.jpg"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("console.txt", "console.txt"),
        ("a:b*c?.txt", "a_b_c_.txt"),
        ("trailing. ", "trailing"),
        ("x\0y\n.txt", "xy.txt"),
        ("/", "01234567.jpg"),
    ],
)
def test_name_of_others_is_made_safe(name: str, expected: str) -> None:
    assert safe_name(name, "image/jpeg", fallback="01234567") == expected


@given(st.text(), st.integers(20, 255))
def test_every_name_becomes_one_visible_name_in_a_folder(name: str, max_bytes: int) -> None:
    safe = safe_name(name, "image/jpeg", fallback="01234567", max_bytes=max_bytes)
    assert safe
    assert len(safe.encode()) <= max_bytes
    assert Path("folder", safe).parent == Path("folder")
    assert Path(safe).name == safe
    assert not safe.startswith(".")
    assert {unicodedata.category(char) for char in safe}.isdisjoint({"Cc", "Cs"})


@given(st.text())
def test_every_local_name_becomes_one_that_the_contract_allows(name: str) -> None:
    check(media_pb2.FileDescription(file_name=sendable_name(name), size_bytes=1))


def test_long_name_keeps_its_extension() -> None:
    assert safe_name("ä" * 200 + ".tar", fallback="x") == "ä" * 125 + ".tar"
    assert sendable_name("ä" * 200 + ".jpeg").endswith("ä.jpeg")


def test_numbered_names_keep_extension_and_length() -> None:
    first, second, third = [path for path, _ in zip(numbered_paths(Path("d", "a.tar.gz")), range(3), strict=False)]
    assert (first.name, second.name, third.name) == ("a.tar.gz", "a.tar (1).gz", "a.tar (2).gz")
    _, long = [path for path, _ in zip(numbered_paths(Path("x" * 250 + ".jpg"), 245), range(2), strict=False)]
    assert len(long.name) == 245
    assert long.name.endswith("x (1).jpg")

"""Pictures in the terminal messenger: detection, cells, loading, and the dialog that asks for a path."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable, Mapping
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from textual.app import App, ComposeResult
from textual.widgets import Input

from parley_client import Files, Media, MediaKind, MediaVariant, NotFound, ParleyError, TryLater
from parley_client.messenger.file_dialog import FileDialog, complete_path
from parley_client.messenger.kitty import KittyPictures
from parley_client.messenger.message_list import MessageList
from parley_client.messenger.pictures import PictureCells, PictureStyle, detect_style, fit_cells
from parley_client.messenger.rows import Row
from parley_client.messenger.thumbnails import MAX_PICTURES, Thumbnails
from tests.eventually import eventually

THUMBHASH = bytes.fromhex("d507121d0467878f77578748878797875878909508")
CAT = Media("c" * 32, MediaKind.IMAGE, "image/jpeg", "cat.jpg", 90_000, 640, 480, thumbhash=THUMBHASH)


def encoded(width: int, height: int, colour: str = "red") -> bytes:
    content = BytesIO()
    Image.new("RGB", (width, height), colour).save(content, "WEBP", lossless=True)
    return content.getvalue()


class StoredFiles(Files):
    """Files that are in memory; an error is raised instead of the bytes."""

    def __init__(self, thumbnail: bytes | ParleyError) -> None:
        self.thumbnail = thumbnail
        self.reads: list[str] = []

    async def read(self, media: Media | str, *, variant: MediaVariant = MediaVariant.ORIGINAL) -> bytes:
        assert isinstance(media, Media)
        assert variant is MediaVariant.THUMBNAIL
        self.reads.append(media.media_id)
        if isinstance(self.thumbnail, ParleyError):
            raise self.thumbnail
        return self.thumbnail


@pytest.mark.parametrize(
    ("environment", "style"),
    [
        ({"TERM": "xterm-kitty", "COLORTERM": "truecolor", "KITTY_WINDOW_ID": "1"}, PictureStyle.KITTY),
        ({"TERM": "xterm-ghostty", "COLORTERM": "truecolor", "TERM_PROGRAM": "ghostty"}, PictureStyle.KITTY),
        ({"TERM": "tmux-256color", "COLORTERM": "truecolor", "KITTY_WINDOW_ID": "1"}, PictureStyle.BLOCKS),
        ({"TERM": "xterm-kitty"}, PictureStyle.BLOCKS),
        ({"TERM": "xterm-256color"}, PictureStyle.BLOCKS),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, PictureStyle.BLOCKS),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, PictureStyle.OFF),
        ({"TERM": "linux"}, PictureStyle.OFF),
        ({}, PictureStyle.OFF),
    ],
)
def test_style_follows_the_environment(environment: Mapping[str, str], style: PictureStyle) -> None:
    assert detect_style(environment) is style


@pytest.mark.parametrize(
    ("pixels", "cells"),
    [((640, 480), (27, 10)), ((1920, 400), (40, 4)), ((10, 4000), (1, 10)), ((1, 1), (20, 10)), ((4000, 10), (40, 1))],
)
def test_picture_keeps_its_proportions_in_cells(pixels: tuple[int, int], cells: tuple[int, int]) -> None:
    assert fit_cells(*pixels) == cells


def draw(picture: PictureCells, width: int) -> str:
    console = Console(width=width, color_system="truecolor", force_terminal=True, file=StringIO())
    with console.capture() as capture:
        console.print(picture)
    return capture.get()


def test_half_block_has_two_pixels() -> None:
    image = Image.new("RGBA", (8, 2), (1, 2, 3, 255))
    image.putpixel((0, 1), (4, 5, 6, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 0))
    image.putpixel((2, 1), (0, 0, 0, 0))
    drawn = draw(PictureCells("x", 8, 1, image), 20)
    assert "\x1b[38;2;1;2;3;48;2;4;5;6m▀" in drawn
    assert "\x1b[38;2;1;2;3m▄" in drawn
    assert re.sub("\x1b\\[[0-9;]*m", "", drawn) == "▀▄ ▀▀▀▀▀\n"


def test_narrow_terminal_shows_a_smaller_picture_or_none() -> None:
    picture = PictureCells("x", 40, 10, Image.new("RGBA", (40, 20), "red"))
    assert [len(draw(picture, width).splitlines()) for width in (80, 40, 20, 7)] == [10, 10, 5, 0]


def test_kitty_picture_is_sent_in_chunks_and_drawn_as_placeholders() -> None:
    written: list[str] = []
    image = Image.effect_noise((200, 100), 90).convert("RGBA")
    number = KittyPictures(written.append).send(image, 20, 5)
    assert 0 < number < 1 << 24
    assert written[0].startswith(f"\x1b_Ga=T,U=1,f=100,i={number},c=20,r=5,q=2,m=1;")
    assert all(len(each) < 4200 and each.endswith("\x1b\\") for each in written)
    payload = "".join(re.sub("^\x1b_G[^;]*;|\x1b\\\\$", "", each) for each in written)
    assert Image.open(BytesIO(base64.b64decode(payload))).size == (200, 100)
    drawn = draw(PictureCells("x", 20, 5, image, number), 80)
    red, green, blue = number.to_bytes(3, "big")
    assert drawn.splitlines()[1].startswith(
        f"\x1b[38;2;{red};{green};{blue}m\U0010eeee\u030d\u0305\U0010eeee\u030d\u030d"
    )
    assert [line.count("\U0010eeee") for line in drawn.splitlines()] == [20] * 5


async def test_placeholder_is_replaced_by_thumbnail_of_the_same_cells() -> None:
    loaded: list[bool] = []
    thumbnails = Thumbnails(StoredFiles(encoded(320, 240)), lambda: loaded.append(True))
    placeholder = thumbnails.get(CAT)
    assert placeholder is not None
    await thumbnails.load(CAT)
    picture = thumbnails.get(CAT)
    assert picture is not None
    assert loaded == [True]
    assert picture != placeholder
    assert (picture.columns, picture.rows) == (placeholder.columns, placeholder.rows) == (27, 10)
    assert picture.image.getpixel((3, 3)) == (255, 0, 0, 255)
    assert not thumbnails.needs_load(CAT)


async def test_thumbnail_is_loaded_once_and_the_cache_is_bounded() -> None:
    files = StoredFiles(encoded(32, 24))
    thumbnails = Thumbnails(files, lambda: None)
    await asyncio.gather(*[thumbnails.load(CAT) for _ in range(5)])
    assert files.reads == [CAT.media_id]
    for number in range(MAX_PICTURES):
        other = Media(f"{number:032x}", MediaKind.IMAGE, width=32, height=24, thumbhash=THUMBHASH)
        await thumbnails.load(other)
    assert thumbnails.needs_load(CAT), "the oldest picture has left the cache"


@pytest.mark.parametrize(
    "thumbnail",
    [b"no picture", encoded(2000, 2000), NotFound("none", code="NOT_FOUND")],
    ids=["broken", "too large", "missing"],
)
async def test_file_without_a_good_thumbnail_is_shown_without_a_picture(thumbnail: bytes | ParleyError) -> None:
    thumbnails = Thumbnails(StoredFiles(thumbnail), lambda: None)
    await thumbnails.load(CAT)
    assert thumbnails.get(CAT) is None
    assert not thumbnails.needs_load(CAT)


async def test_thumbnail_is_requested_again_after_an_outage() -> None:
    files = StoredFiles(TryLater("away", code="UNAVAILABLE"))
    thumbnails = Thumbnails(files, lambda: None)
    await thumbnails.load(CAT)
    assert thumbnails.get(CAT) is not None
    files.thumbnail = encoded(32, 24)
    await thumbnails.load(CAT)
    assert not thumbnails.needs_load(CAT)


async def test_only_pictures_and_videos_are_shown() -> None:
    thumbnails = Thumbnails(StoredFiles(b""), lambda: None)
    assert thumbnails.get(Media("a" * 32, MediaKind.FILE, thumbhash=THUMBHASH)) is None
    assert thumbnails.get(Media("a" * 32, MediaKind.IMAGE)) is None
    assert thumbnails.get(Media("a" * 32, MediaKind.VIDEO, thumbhash=THUMBHASH)) is not None
    assert thumbnails.get(Media("b" * 32, MediaKind.VIDEO, thumbhash=b"\xff")) is None


class PictureApp(App[None]):
    """A list with one picture between texts."""

    def __init__(self, picture: PictureCells) -> None:
        super().__init__()
        self.messages = MessageList()
        self._rows = [
            *(Row(f"message {n}", f"text {n}") for n in range(20)),
            Row("message 20", "[picture cat.jpg]", picture=picture),
        ]

    def compose(self) -> ComposeResult:
        yield self.messages

    def on_mount(self) -> None:
        self.messages.show_rows(self._rows, end=True)

    @property
    def lines(self) -> list[str]:
        return [strip.text for strip in self.screen._compositor.render_strips()]


async def test_list_shows_picture_below_its_message() -> None:
    picture = PictureCells("x", 27, 10, Image.new("RGBA", (27, 20), "red"))
    app = PictureApp(picture)
    async with app.run_test(size=(60, 15)) as pilot:
        await pilot.pause()
        drawn = [line for line in app.lines if "▀" * 27 in line]
        assert len(drawn) == 10
        assert app.messages.visible_keys == [f"message {n}" for n in range(18, 21)], "the list has a border"
        app.messages.highlight_last()
        await pilot.pause()
        styles = [
            segment.style
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if "▀" in segment.text
        ]
        assert styles
        assert not any(style is not None and style.reverse for style in styles), "reversed pixels"


async def test_list_keeps_the_placeholders_of_a_kitty_picture() -> None:
    app = PictureApp(PictureCells("x", 27, 10, Image.new("RGBA", (27, 20), "red"), 0x010203))
    async with app.run_test(size=(60, 15)) as pilot:
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
        drawn = [segment for strip in strips for segment in strip if "\U0010eeee" in segment.text]
        assert [segment.text.count("\U0010eeee") for segment in drawn] == [27] * 10
        assert [segment.text[1] for segment in drawn[:3]] == ["\u0305", "\u030d", "\u030e"], "the rows in order"
        colours = [segment.style.color.get_truecolor() for segment in drawn if segment.style and segment.style.color]
        assert {(each.red, each.green, each.blue) for each in colours} == {(1, 2, 3)}
        assert {strip.cell_length for strip in strips} == {60}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("beach.jpg", "bear.png", ".hidden", "b\x1b[31m.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "owl.gif").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("be", "beach.jpg"),
        ("bear", "bear.png"),
        ("bi", "birds/"),
        ("birds/", "birds/owl.gif"),
        ("~/bi", "~/birds/"),
        (".h", ".hidden"),
        ("x", None),
        ("missing/x", None),
        ("~nobody-has-this-name/x", None),
    ],
)
def test_path_is_completed(home: Path, typed: str, completed: str | None) -> None:
    assert complete_path(typed) == completed


class DialogApp(App[None]):
    """An app that shows one dialog."""

    def __init__(self, dialog: Callable[[], FileDialog]) -> None:
        super().__init__()
        self.answers: list[tuple[Path, str] | None] = []
        self._dialog = dialog

    def on_mount(self) -> None:
        self.push_screen(self._dialog(), self.answers.append)


async def test_dialog_asks_again_until_the_file_exists(home: Path) -> None:
    app = DialogApp(lambda: FileDialog("Send a file", "The file", can_be_folder=False, has_caption=True))
    async with app.run_test(size=(80, 20)) as pilot:
        await pilot.press(*"be", "enter")
        problem = app.screen.query_one("#problem")
        await eventually(lambda: "no such file" in str(problem.render()))
        await eventually(lambda: app.screen.query_one("#path", Input)._suggestion)
        await pilot.press("right", "enter")
        await eventually(lambda: app.focused is app.screen.query_one("#caption"))
        await pilot.press(*"sea", "enter")
        await eventually(lambda: app.answers == [(Path("beach.jpg"), "sea")])

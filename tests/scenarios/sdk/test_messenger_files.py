"""Pictures and files in the messenger as a user sees them: keys as input, the screen as output."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from parley_client import MediaVariant
from parley_client.messenger.pictures import PictureStyle
from tests.eventually import eventually
from tests.scenarios.sdk.people import Pair
from tests.scenarios.sdk.terminal_screen import Screen, messenger

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]


@pytest.fixture
def beach(tmp_path: Path) -> Path:
    """A red picture."""
    content = BytesIO()
    Image.new("RGB", (640, 480), (250, 10, 20)).save(content, "JPEG")
    path = tmp_path / "beach.jpg"
    path.write_bytes(content.getvalue())
    return path


def block_colours(screen: Screen) -> set[tuple[int, int, int]]:
    """Return the colours of the half blocks on the screen."""
    strips = screen.app.screen._compositor.render_strips()
    styles = [segment.style for strip in strips for segment in strip if "▀" in segment.text]
    triplets = [style.color.get_truecolor() for style in styles if style is not None and style.color is not None]
    return {(each.red, each.green, each.blue) for each in triplets}


async def test_picture_of_a_message_is_drawn(pair: Pair, beach: Path) -> None:
    await pair.bob.messages.send_file(pair.chat, beach, caption="look")
    async with messenger(pair.alice, pair.chat, pictures=PictureStyle.BLOCKS) as screen:
        await screen.shows("[picture beach.jpg, 640 × 480, ", "look", "▀" * 27)

        def is_loaded() -> bool:
            thumbnails = screen.app._model.thumbnails
            assert thumbnails is not None
            return len(thumbnails._pictures) == 1

        await eventually(is_loaded)
        await screen.shows("▀" * 27)
        assert all(red > 200 and green < 60 and blue < 60 for red, green, blue in block_colours(screen))


async def test_terminal_without_colours_shows_name_and_size(pair: Pair, beach: Path) -> None:
    await pair.bob.messages.send_file(pair.chat, beach)
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("[picture beach.jpg, 640 × 480, ")
        assert "▀" not in screen.text


async def test_file_is_sent_and_saved(pair: Pair, beach: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = tmp_path / "Downloads"
    downloads.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    async with messenger(pair.alice, pair.chat) as screen:
        await screen.shows("Write, Enter sends")
        await screen.press("ctrl+t")
        await screen.shows("Send a file")
        await screen.write("~/be")
        await screen.shows("~/beach.jpg")
        await screen.press("right", "enter")
        await screen.write("sea")
        await screen.press("enter")
        await screen.shows("✓  [picture beach.jpg, 640 × 480, ", "sea")
        await screen.press("up", "s")
        await screen.shows("Save the picture beach.jpg", "Downloads")
        await screen.press("enter")
        await screen.shows("Saved ")
        assert (downloads / "beach.jpg").is_file()
        await screen.press("escape", "ctrl+t")
        await screen.shows("Send a file")
        await screen.write("~/missing")
        await screen.press("enter")
        await screen.shows("There is no such file.")
        await screen.press("escape")
    [message] = [each async for each in pair.bob.messages.list_before(pair.chat, limit=1)]
    assert message.media is not None
    assert message.media.caption == "sea"
    assert await pair.bob.files.read(message.media, variant=MediaVariant.THUMBNAIL)

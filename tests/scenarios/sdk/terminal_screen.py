"""The messenger in a test: keys as input, the screen's text as output."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual import events
from textual.pilot import Pilot

from parley_client import Client
from parley_client.messenger.app import MessengerApp
from parley_client.messenger.model import MessengerModel
from parley_client.messenger.pictures import PictureStyle
from tests.eventually import eventually


class Screen:
    """The screen of one user's messenger."""

    def __init__(self, app: MessengerApp, pilot: Pilot[Exception | None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def lines(self) -> list[str]:
        """Return the screen's text, line by line."""
        compositor = self.app.screen._compositor
        return [strip.text for strip in compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    def burst(self, *keys: str) -> None:
        """Queue all keys before the first one is handled."""
        for key in keys:
            self.app.post_message(events.Key(key, key if len(key) == 1 else None))

    async def write(self, text: str) -> None:
        names = {
            " ": "space",
            "@": "at",
            ".": "full_stop",
            "?": "question_mark",
            "~": "tilde",
            "/": "slash",
            "!": "exclamation_mark",
        }
        await self.pilot.press(*[names.get(sign, sign) for sign in text])

    async def say(self, text: str) -> None:
        await self.write(text)
        await self.press("enter")

    async def shows(self, *texts: str) -> None:
        """Wait until all texts are on the screen."""

        async def holds() -> bool:
            await self.pilot.pause()
            missing = [text for text in texts if text not in self.text]
            assert not missing, f"{missing} not on the screen:\n{self.text}"
            return True

        await eventually(holds)

    async def hides(self, text: str) -> None:
        """Wait until the text is not on the screen."""

        async def holds() -> bool:
            await self.pilot.pause()
            assert text not in self.text, f"{text!r} still on the screen:\n{self.text}"
            return True

        await eventually(holds)


@asynccontextmanager
async def messenger(
    client: Client, first: str = "", size: tuple[int, int] = (80, 24), pictures: PictureStyle = PictureStyle.OFF
) -> AsyncIterator[Screen]:
    """Run the messenger of the client's user."""
    app = MessengerApp(MessengerModel(client, "the door"), first, pictures=pictures)
    async with app.run_test(size=size) as pilot:
        yield Screen(app, pilot)

"""Friends who plan an evening on a running system, and the messenger of one of them: what the picture shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from textual.pilot import Pilot

from parley_client import Client, Device
from parley_client.messenger.app import MessengerApp
from parley_client.messenger.model import Messenger

SIZE = (96, 22)
TIMEOUT_S = 20.0
# Who is who; login names get an ending of their own.
DISPLAY_NAMES = ("Ada Moreno", "Jonas Lind", "Mei 林美", "Omar عمر", "Nia Okafor")


class DemoUsers:
    """The people of the picture, signed in at `door`."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._stack = AsyncExitStack()
        self.clients: list[Client] = []

    async def __aenter__(self) -> DemoUsers:
        for name in DISPLAY_NAMES:
            client = await self._stack.enter_async_context(Client(self._door))
            login_name = f"{name.split()[0].lower()}-{client.new_id()[-8:]}"
            await client.accounts.register(login_name, "correct horse", display_name=name)
            self.clients.append(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def user_id(self, who: int) -> str:
        """The user's id."""
        session = self.clients[who].session
        assert session is not None
        return session.user_id

    async def connect(self, who: int) -> Device:
        """Somebody who is there, and receives what is said."""
        device = await self._stack.enter_async_context(self.clients[who].connect(listen=False))
        await device.wait_connected()
        return device

    async def send_messages(self) -> str:
        """What was said before the picture is taken; the id of the group."""
        ada, jonas, mei, omar, nia = self.clients
        members = [self.user_id(n) for n in (1, 2, 3)]
        group = (await ada.conversations.create_group("Friday climbing", members)).conversation_id
        for other, words in ((mei, "The photos are in the album!"), (omar, "See you there"), (nia, "Lunch?")):
            chat = (await other.conversations.get_or_create_direct(self.user_id(0))).conversation_id
            await other.messages.send(chat, words)
            if other is mei:
                await ada.conversations.pin(chat)
        asked = await jonas.messages.send(group, "Who is in for Friday? The hall opens at six.")
        await mei.messages.send(group, "Me! I can bring the second rope.")
        await omar.messages.send(group, "In. I come straight from work, so count me in for half past.")
        await mei.messages.set_reaction(group, asked.seq, "👍")
        await omar.messages.set_reaction(group, asked.seq, "👍")
        await ada.messages.send(group, "Six it is, I book the wall. ¿Alguien lleva magnesio?", reply_to_seq=asked.seq)
        late = await jonas.messages.send(group, "Chalk is on me")
        await jonas.messages.edit(group, late.seq, "Chalk is on me, and dinner is on Omar 🍜")
        await ada.messages.set_reaction(group, late.seq, "😂")
        await omar.messages.set_reaction(group, late.seq, "😂")
        return group


async def messenger_svg(door: str) -> str:
    """The messenger of the first of them, as an SVG."""
    async with DemoUsers(door) as friends:
        group = await friends.send_messages()
        others = [await friends.connect(n) for n in (1, 2, 3)]
        app = MessengerApp(Messenger(friends.clients[0], door), group)
        async with app.run_test(size=SIZE) as pilot:
            await _wait_until(pilot, lambda: "dinner is on Omar" in _screen_text(app))
            await pilot.press(*_key_names("See you there, all of you!"), "enter")
            await _wait_until(pilot, lambda: "See you there, all" in _screen_text(app))
            head = (await friends.clients[0].conversations.get(group)).head_seq
            for device in others:
                device.mark_read(group, head)
            others[1].typing(group)
            await _wait_until(pilot, lambda: "typing…" in _screen_text(app) and "✓✓ read" in _screen_text(app))
            return app.export_screenshot(title="parley chat")


def _key_names(text: str) -> list[str]:
    names = {" ": "space", ",": "comma", "!": "exclamation_mark"}
    return [names.get(sign, sign) for sign in text]


def _screen_text(app: MessengerApp) -> str:
    return app.export_screenshot(simplify=True).replace("&#160;", " ")


async def _wait_until(pilot: Pilot[Exception | None], predicate: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not predicate():
            await pilot.pause(0.05)

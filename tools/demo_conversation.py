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
SECONDS = 20.0
# Who is who; login names get an ending of their own.
PEOPLE = ("Ada Moreno", "Jonas Lind", "Mei 林美", "Omar عمر", "Nia Okafor")


class Friends:
    """The people of the picture, signed in at `door`."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._stack = AsyncExitStack()
        self.clients: list[Client] = []

    async def __aenter__(self) -> Friends:
        for name in PEOPLE:
            client = await self._stack.enter_async_context(Client(self._door))
            login_name = f"{name.split()[0].lower()}-{client.new_id()[-8:]}"
            await client.accounts.register(login_name, "correct horse", display_name=name)
            self.clients.append(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def id_of(self, who: int) -> str:
        """The user's id."""
        session = self.clients[who].session
        assert session is not None
        return session.user_id

    async def attend(self, who: int) -> Device:
        """Somebody who is there, and receives what is said."""
        device = await self._stack.enter_async_context(self.clients[who].connect(listen=False))
        await device.wait_connected()
        return device

    async def talk(self) -> str:
        """What was said before the picture is taken; the id of the group."""
        ada, jonas, mei, omar, nia = self.clients
        members = [self.id_of(n) for n in (1, 2, 3)]
        group = (await ada.conversations.create_group("Friday climbing", members)).conversation_id
        for other, words in ((mei, "The photos are in the album!"), (omar, "See you there"), (nia, "Lunch?")):
            chat = (await other.conversations.get_or_create_direct(self.id_of(0))).conversation_id
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


async def picture(door: str) -> str:
    """The messenger of the first of them, as an SVG."""
    async with Friends(door) as friends:
        group = await friends.talk()
        others = [await friends.attend(n) for n in (1, 2, 3)]
        app = MessengerApp(Messenger(friends.clients[0], door), group)
        async with app.run_test(size=SIZE) as pilot:
            await _until(pilot, lambda: "dinner is on Omar" in _shown(app))
            await pilot.press(*_keys("See you there, all of you!"), "enter")
            await _until(pilot, lambda: "See you there, all" in _shown(app))
            head = (await friends.clients[0].conversations.get(group)).head_seq
            for device in others:
                device.mark_read(group, head)
            others[1].typing(group)
            await _until(pilot, lambda: "typing…" in _shown(app) and "✓✓ read" in _shown(app))
            return app.export_screenshot(title="parley chat")


def _keys(text: str) -> list[str]:
    names = {" ": "space", ",": "comma", "!": "exclamation_mark"}
    return [names.get(sign, sign) for sign in text]


def _shown(app: MessengerApp) -> str:
    return app.export_screenshot(simplify=True).replace("&#160;", " ")


async def _until(pilot: Pilot[Exception | None], holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():
            await pilot.pause(0.05)

"""A demo conversation on a running system, and a screenshot of the messenger of one of its users."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from textual.pilot import Pilot

from parley_client import Client, Device, contents
from parley_client.messenger.app import MessengerApp
from parley_client.messenger.model import MessengerModel

SIZE = (112, 24)
TIMEOUT_S = 20.0
# Display names; the login names get a random suffix.
DISPLAY_NAMES = ("Ada Moreno", "Jonas Lind", "Mei 林美", "Omar عمر", "Nia Okafor")


class DemoUsers:
    """The users of the demo, registered and signed in at `door`."""

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

    def user_id(self, index: int) -> str:
        """Return the id of the user at `index` of DISPLAY_NAMES."""
        session = self.clients[index].session
        assert session is not None
        return session.user_id

    async def connect(self, index: int) -> Device:
        """Connect a device of the user at `index`, which receives messages."""
        device = await self._stack.enter_async_context(self.clients[index].connect(listen=False))
        await device.wait_connected()
        return device

    async def send_messages(self) -> str:
        """Create the conversations and send their messages. Return the id of the group."""
        ada, jonas, mei, omar, nia = self.clients
        members = [self.user_id(n) for n in (1, 2, 3)]
        group = (await ada.conversations.create_group("Friday climbing", members)).conversation_id
        for other, words in ((mei, "The photos are in the album!"), (omar, "See you there"), (nia, "Lunch?")):
            chat = (await other.conversations.get_or_create_direct(self.user_id(0))).conversation_id
            await other.messages.send(chat, words)
            if other is mei:
                await ada.conversations.pin(chat)
        question = await jonas.messages.send(group, "Who is in for Friday? The hall opens at six.")
        await mei.messages.send(group, "Me! I can bring the second rope.")
        answer = "In. I come straight from work, @Ada Moreno, so count me in for half past."
        await omar.messages.send(group, contents.text(answer, {"@Ada Moreno": self.user_id(0)}))
        await mei.messages.set_reaction(group, question.seq, "👍")
        await omar.messages.set_reaction(group, question.seq, "👍")
        await ada.messages.send(
            group, "Six it is, I book the wall. ¿Alguien lleva magnesio?", reply_to_seq=question.seq
        )
        last = await jonas.messages.send(group, "Chalk is on me")
        await jonas.messages.edit(group, last.seq, "Chalk is on me, and dinner is on Omar 🍜")
        await ada.messages.set_reaction(group, last.seq, "😂")
        await omar.messages.set_reaction(group, last.seq, "😂")
        return group


async def messenger_svg(door: str) -> str:
    """Return a screenshot of the messenger of the first user, as SVG."""
    async with DemoUsers(door) as users:
        group = await users.send_messages()
        others = [await users.connect(n) for n in (1, 2, 3)]
        app = MessengerApp(MessengerModel(users.clients[0], door), group)
        async with app.run_test(size=SIZE) as pilot:
            await _wait_until(pilot, lambda: "dinner is on Omar" in _screen_text(app))
            await pilot.press(*_key_names("See you there, all of you!"), "enter")
            await _wait_until(pilot, lambda: "See you there, all" in _screen_text(app))
            head = (await users.clients[0].conversations.get(group)).head_seq
            for device in others:
                device.mark_read(group, head)
            others[1].set_typing(group)
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

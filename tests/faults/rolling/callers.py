"""Users who call every service by the SDK again and again, and are shown no error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from parley_client import Client, FcmToken, ParleyError
from tests.faults.talkers import SdkTalker

PAUSE_S: Final = 0.2
# The bytes of an uploaded file.
FILE_BYTES: Final = 50_000

Call = Callable[[Client, str], Awaitable[object]]
"""Calls a service as the user of a client; the string is new for each round of calls."""


class Callers:
    """Some users whose programs make calls of all services, one after the other; uploads are in `folder`.

    `succeeded` counts the calls by name that returned what they should.
    """

    def __init__(self, users: Sequence[SdkTalker], folder: Path) -> None:
        self.errors: list[str] = []
        self._users = users
        self._folder = folder
        self._calls: dict[str, Call] = {
            "conversations": _list_conversations,
            "profile": _rename,
            "presence": lambda client, _: client.presence.get([each.who.user_id for each in users]),
            "push token": lambda client, token: client.push.register_token(FcmToken(token)),
            "push tokens": lambda client, _: client.push.list_tokens(),
            "file": self._exchange_file,
        }
        self.succeeded = dict.fromkeys(self._calls, 0)

    async def call(self, is_running: Callable[[], bool]) -> None:
        """Call while `is_running` returns true."""
        async with asyncio.TaskGroup() as group:
            for user in self._users:
                group.create_task(self._call(user, is_running))

    async def _call(self, user: SdkTalker, is_running: Callable[[], bool]) -> None:
        number = 0
        while is_running():
            number += 1
            for name, call in self._calls.items():
                try:
                    await call(user.client, f"{user.name} {number}")
                    self.succeeded[name] += 1
                except ParleyError as error:
                    self.errors.append(f"{user.name} called {name}: {error!r}")
                await asyncio.sleep(PAUSE_S)

    async def _exchange_file(self, client: Client, name: str) -> None:
        """Upload a file and read it."""
        data = (name.encode() * FILE_BYTES)[:FILE_BYTES]
        path = self._folder / name
        await asyncio.to_thread(path.write_bytes, data)
        media = await client.files.upload(path)
        if await client.files.read(media) != data:
            self.errors.append(f"{name}: the file came back with other bytes")


async def _list_conversations(client: Client, _: str) -> None:
    assert [each async for each in client.conversations.list()], "every user is in two conversations"


async def _rename(client: Client, name: str) -> None:
    await client.accounts.update_profile(display_name=name)
    assert (await client.accounts.get_profile()).display_name == name

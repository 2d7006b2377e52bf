"""A bot that answers "ping": PARLEY_PASSWORD=… python docs/examples/pong.py LOGIN_NAME PEER."""

import asyncio
import os
import sys
from pathlib import Path

from parley_client import Client, FileStore, Message


async def main(login_name: str, peer: str) -> None:
    store = FileStore(Path(f"{login_name}.json"))  # the session, and how far each conversation was handled
    async with Client(os.environ.get("PARLEY_DOOR"), store=store) as client:
        if client.session is None:  # the first time, or after the device was signed out
            await client.accounts.login(login_name, os.environ["PARLEY_PASSWORD"], device_name="pong")
        user = await client.accounts.find(peer)
        chat = await client.conversations.get_or_create_direct(user.user_id)
        async with client.connect(history_from_start=False) as device:
            view = await client.view(chat.conversation_id)  # stays current while the device runs
            await device.send(chat.conversation_id, "I answer ping.")  # durable once this returns

            @device.on_message  # in order, once, across reconnects and restarts
            async def answer(message: Message) -> None:
                print(f"{view.title}: {message.text} ({view.unread_count} unread)")
                if message.text == "ping":
                    await message.react("👀")
                    await message.reply("pong")
                device.mark_read(message.conversation_id, message.seq)

            await device.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

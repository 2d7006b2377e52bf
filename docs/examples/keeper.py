"""A bot that saves the files it is sent: PARLEY_PASSWORD=… python docs/examples/keeper.py LOGIN_NAME FOLDER."""

import asyncio
import os
import sys
from pathlib import Path

from parley_client import Client, FileStore, Message


async def main(login_name: str, folder: str) -> None:
    store = FileStore(Path(f"{login_name}.json"))
    async with Client(os.environ.get("PARLEY_DOOR"), store=store) as client:
        if client.session is None:
            await client.accounts.login(login_name, os.environ["PARLEY_PASSWORD"], device_name="keeper")
        async with client.connect() as device:

            @device.on_message
            async def keep(message: Message) -> None:
                if message.media is None:
                    return
                # In the folder, whatever its name says; continued if the bot was stopped in the middle; verified.
                path = await message.download(folder, on_progress=lambda done, total: print(f"{done:,} of {total:,}"))
                receipt = Path(folder) / "receipts.txt"
                with receipt.open("a") as file:
                    file.write(f"{path.name}\n")
                await device.send_file(message.conversation_id, receipt, caption=f"kept {path.name}")

            await device.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

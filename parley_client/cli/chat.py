"""The command `chat`: the messenger on a terminal, or one conversation over stdin and stdout."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import open_client, run_command
from parley_client.cli.directory import UserDirectory, open_conversation
from parley_client.cli.errors import CommandError
from parley_client.cli.line_chat import LineChat
from parley_client.cli.messages import show_conversations
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, GroupOption, TlsOption
from parley_client.client import Client
from parley_client.messenger.notifier import NotificationKind
from parley_client.messenger.pictures import PictureStyle, detect_style

app = typer.Typer()


@app.command()
def chat(
    peer: Annotated[str, typer.Argument(metavar="NAME", help="The other user's login name.", show_default=False)] = "",
    group: GroupOption = "",
    notify: Annotated[
        NotificationKind,
        typer.Option(
            envvar="PARLEY_NOTIFY",
            help="How the messenger announces a message that you do not see: the terminal's bell, a desktop "
            "notification (OSC 9), or not at all.",
        ),
    ] = NotificationKind.BELL,
    pictures: Annotated[
        PictureStyle,
        typer.Option(
            envvar="PARLEY_PICTURES",
            help="How the messenger draws pictures: by kitty's graphics protocol, in half blocks, or not at all.",
        ),
    ] = PictureStyle.AUTO,
    name: AsOption = "",
    door: DoorOption = DOOR,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Open the messenger, at the conversation with NAME or a group if given. F1 shows its keys.

    Piped lines are sent as messages: `echo hello | parley chat bob`.
    """

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            directory = UserDirectory(client)
            if _is_interactive():
                conversation = await open_conversation(client, directory, peer, group) if peer or group else None
                conversation_id = conversation.conversation_id if conversation else ""
                await _run_messenger(client, conversation_id, notify, pictures)
            elif peer or group:
                await LineChat(client, directory, await open_conversation(client, directory, peer, group)).run()
            else:
                await show_conversations(client, directory)

    run_command(run(), door)


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


async def _run_messenger(
    client: Client, conversation_id: str, notify: NotificationKind, pictures: PictureStyle
) -> None:
    if importlib.util.find_spec("textual") is None:
        raise CommandError(
            "The messenger needs textual. Run `pip install '.[terminal]'` in the folder of Parley's repository, "
            "or pipe lines into `parley chat NAME`."
        )
    # Imported here because textual is optional and slow to load.
    from parley_client.messenger.app import MessengerApp
    from parley_client.messenger.model import MessengerModel

    style = detect_style(os.environ) if pictures is PictureStyle.AUTO else pictures
    messenger = MessengerApp(MessengerModel(client, client.door.address), conversation_id, notify, style)
    # Without a handler, SIGTERM would leave the terminal on the alternate screen, with the mouse reported.
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, messenger.exit, typer.Exit(128 + signal.SIGTERM))
    if error := await messenger.run_async():
        raise error

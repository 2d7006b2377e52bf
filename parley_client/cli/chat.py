"""`chat`: the messenger on a terminal, and one conversation by lines where there is none."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import open_client, run_command
from parley_client.cli.directory import UserDirectory, open_conversation
from parley_client.cli.errors import CommandError
from parley_client.cli.line_chat import LineChat
from parley_client.cli.messages import show_conversations
from parley_client.cli.options import DOOR, AsOption, DoorOption, TlsOption, GroupOption, CaOption
from parley_client.client import Client

app = typer.Typer()


@app.command()
def chat(
    peer: Annotated[str, typer.Argument(metavar="[NAME]", help="With whom.", show_default=False)] = "",
    group: GroupOption = "",
    name: AsOption = "",
    door: DoorOption = DOOR,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Talk: the messenger, beginning with NAME or a group if it is given. F1 shows its keys.

    Lines from a pipe are sent too: `echo hello | parley chat bob`.
    """

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            people = UserDirectory(me)
            if _is_interactive():
                wanted = await open_conversation(me, people, peer, group) if peer or group else None
                await _run_messenger(me, door, wanted.conversation_id if wanted else "")
            elif peer or group:
                await LineChat(me, people, await open_conversation(me, people, peer, group)).run()
            else:
                await show_conversations(me, people)

    run_command(run(), door)


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


async def _run_messenger(me: Client, door: str, conversation_id: str) -> None:
    if importlib.util.find_spec("textual") is None:
        raise CommandError(
            "The messenger needs textual. Run `pip install '.[terminal]'` in the folder of Parley's repository, "
            "or pipe lines into this command."
        )
    # Nothing else needs it, and it takes its time to load.
    from parley_client.messenger.app import MessengerApp
    from parley_client.messenger.model import Messenger

    if error := await MessengerApp(Messenger(me, door), conversation_id).run_async():
        raise error

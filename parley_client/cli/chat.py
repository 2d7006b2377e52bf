"""`chat`: the messenger on a terminal, and one conversation by lines where there is none."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import client, perform
from parley_client.cli.directory import People, conversation_with
from parley_client.cli.errors import Sorry
from parley_client.cli.line_chat import ChatRoom
from parley_client.cli.messages import show_conversations
from parley_client.cli.options import DOOR, As, Door, Encrypted, Group, Roots
from parley_client.client import Client

app = typer.Typer()


@app.command()
def chat(
    peer: Annotated[str, typer.Argument(metavar="[NAME]", help="With whom.", show_default=False)] = "",
    group: Group = "",
    name: As = "",
    door: Door = DOOR,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Talk: the messenger, beginning with NAME or a group if it is given. F1 shows its keys.

    Lines from a pipe are sent too: `echo hello | parley chat bob`.
    """

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            people = People(me)
            if _on_a_terminal():
                wanted = await conversation_with(me, people, peer, group) if peer or group else None
                await _messenger(me, door, wanted.conversation_id if wanted else "")
            elif peer or group:
                await ChatRoom(me, people, await conversation_with(me, people, peer, group)).run()
            else:
                await show_conversations(me, people)

    perform(run(), door)


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


async def _messenger(me: Client, door: str, first: str) -> None:
    if importlib.util.find_spec("textual") is None:
        raise Sorry(
            "The messenger needs textual. Run `pip install '.[terminal]'` in the folder of Parley's repository, "
            "or pipe lines into this command."
        )
    # Nothing else needs it, and it takes its time to load.
    from parley_client.messenger.app import MessengerApp
    from parley_client.messenger.model import Messenger

    if error := await MessengerApp(Messenger(me, door), first).run_async():
        raise error

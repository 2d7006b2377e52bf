"""`chat`: a live conversation, with a prompt that stays at the bottom."""

from __future__ import annotations

from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.chat_room import ChatRoom
from parley_client.cli.lines import clean
from parley_client.cli.options import DOOR, As, Door, Encrypted, Group, Roots
from parley_client.cli.people import People, conversation_with
from parley_client.cli.run import client, perform, say
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
    """Talk: `parley chat bob`, or `parley chat --group TITLE`. Without either it lists your conversations.

    Lines from a pipe are sent too: `echo hello | parley chat bob`.
    """

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            people = People(me)
            if not peer and not group:
                await _list(me, people)
                return
            conversation = await conversation_with(me, people, peer, group)
            await ChatRoom(me, people, conversation, clean(await people.title(conversation))).run()

    perform(run(), door)


async def _list(me: Client, people: People) -> None:
    lines = []
    async for conversation in me.conversations.list():
        unread = f"  ({conversation.unread_count} unread)" if conversation.unread_count else ""
        lines.append(clean(await people.title(conversation)) + unread)
    for line in sorted(lines, key=str.casefold):
        say(line)
    say("Talk with `parley chat NAME` or `parley chat --group TITLE`.", style="dim")

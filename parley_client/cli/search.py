"""`search`: messages by their words."""

from __future__ import annotations

from typing import Annotated

import typer

from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli import options
from parley_client.cli.command import client, out, perform, say, say_json
from parley_client.cli.directory import People, begun_with
from parley_client.cli.formatting import clean, line
from parley_client.cli.options import DOOR, As, Door, Encrypted, Group, Json, Roots
from parley_client.client import Client

app = typer.Typer()


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="All of them must occur.")],
    peer: Annotated[str, typer.Option("--with", metavar="NAME", help="Only what was said with NAME.")] = "",
    group: Group = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many messages at most.")] = 20,
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Find messages by their words, newest first, in all your conversations or in one."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            people = People(me)
            where = await begun_with(me, people, peer, group) if peer or group else Conversation()
            titles = {} if as_json else await _titles(me, people)
            count = 0
            async for entry in me.messages.search(" ".join(words), where.conversation_id, limit):
                count += 1
                if as_json:
                    say_json(entry)
                    continue
                say(titles.get(entry.conversation_id, "a conversation you left"), style="bold")
                out.print(await line(entry, people), soft_wrap=True)
        if not count and not as_json:
            say("Nothing was found. All the words must occur in one message.", style="dim")

    perform(run(), door)


async def _titles(me: Client, people: People) -> dict[str, str]:
    return {each.conversation_id: clean(await people.title(each)) async for each in me.conversations.list()}

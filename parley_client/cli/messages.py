"""`send`, `history` and `conversations`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from parley_client.cli import options
from parley_client.cli.command import appended, client, out, perform, say, say_json
from parley_client.cli.directory import People, begun_with, conversation_with, left
from parley_client.cli.errors import Sorry
from parley_client.cli.formatting import clean, line
from parley_client.cli.options import DOOR, LAST_SEQ, As, Door, Encrypted, Group, Json, Roots
from parley_client.client import Client

app = typer.Typer()


@app.command()
def send(
    words: Annotated[
        list[str], typer.Argument(metavar="[NAME] TEXT…", help="To whom, and what; “-” reads the text from stdin.")
    ],
    group: Group = "",
    reply_to: Annotated[
        int, typer.Option("--reply-to", metavar="SEQ", min=0, max=LAST_SEQ, help="The message it answers.")
    ] = 0,
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Send one message: `parley send bob hello`, or `parley send --group TITLE hello`."""

    async def run() -> None:
        peer, text = ("", words) if group else (words[0], words[1:])
        said = sys.stdin.read().rstrip("\n") if text == ["-"] else " ".join(text)
        if not said:
            raise Sorry("Say what: `parley send NAME TEXT`.")
        async with client(door, options.tls(tls, ca), name) as me:
            conversation = await conversation_with(me, People(me), peer, group)
            sent = await me.messages.send(conversation.conversation_id, said, reply_to_seq=reply_to)
        if as_json:
            say_json({"conversation_id": conversation.conversation_id, **appended(sent)})
        else:
            say("✓ sent", style="green")

    perform(run(), door)


@app.command()
def history(
    peer: Annotated[str, typer.Argument(metavar="[NAME]", help="With whom.", show_default=False)] = "",
    group: Group = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many messages at most.")] = 50,
    seqs: Annotated[bool, typer.Option("--seqs", help="With the SEQ of each, for edit, delete and react.")] = False,
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Show the newest messages of a conversation, oldest first."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            people = People(me)
            conversation = await begun_with(me, people, peer, group)
            newest = [each async for each in me.messages.before(conversation.conversation_id, limit=limit)]
            for entry in reversed(newest):
                if as_json:
                    say_json(entry)
                else:
                    place = f"{entry.seq:>5}  " if seqs else ""
                    out.print(Text(place, style="dim") + await line(entry, people), soft_wrap=True)
        if not newest and not as_json:
            say("Nothing was said yet.", style="dim")

    perform(run(), door)


@app.command()
def conversations(
    name: As = "", door: Door = DOOR, as_json: Json = False, tls: Encrypted = False, ca: Roots = None
) -> None:
    """Show your conversations, and how much of each you have not read."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            if not as_json:
                await show_conversations(me, People(me))
                return
            async for conversation in me.conversations.list():
                say_json(conversation)

    perform(run(), door)


async def show_conversations(me: Client, people: People) -> None:
    """The list, by title."""
    lines = []
    async for conversation in me.conversations.list():
        unread = f"  ({conversation.unread_count} unread)" if conversation.unread_count else ""
        gone = "  (left)" if left(me, conversation) else ""
        lines.append(clean(await people.title(conversation)) + unread + gone)
    for each in sorted(lines, key=str.casefold):
        say(each)
    say("Talk with `parley chat NAME` or `parley chat --group TITLE`.", style="dim")

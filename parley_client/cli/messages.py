"""`send`, `history` and `conversations`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from parley_client.cli import options
from parley_client.cli.command import appended_fields, open_client, out, run_command, print_line, print_json
from parley_client.cli.directory import UserDirectory, find_conversation, open_conversation, is_former_member
from parley_client.cli.errors import CommandError
from parley_client.cli.formatting import printable, format_entry
from parley_client.cli.options import DOOR, MAX_SEQ, AsOption, DoorOption, TlsOption, GroupOption, JsonOption, CaOption
from parley_client.client import Client

app = typer.Typer()


@app.command()
def send(
    words: Annotated[
        list[str], typer.Argument(metavar="[NAME] TEXT…", help="To whom, and what; “-” reads the text from stdin.")
    ],
    group: GroupOption = "",
    reply_to: Annotated[
        int, typer.Option("--reply-to", metavar="SEQ", min=0, max=MAX_SEQ, help="The message it answers.")
    ] = 0,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Send one message: `parley send bob hello`, or `parley send --group TITLE hello`."""

    async def run() -> None:
        peer, text = ("", words) if group else (words[0], words[1:])
        said = sys.stdin.read().rstrip("\n") if text == ["-"] else " ".join(text)
        if not said:
            raise CommandError("Say what: `parley send NAME TEXT`.")
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            conversation = await open_conversation(me, UserDirectory(me), peer, group)
            sent = await me.messages.send(conversation.conversation_id, said, reply_to_seq=reply_to)
        if as_json:
            print_json({"conversation_id": conversation.conversation_id, **appended_fields(sent)})
        else:
            print_line("✓ sent", style="green")

    run_command(run(), door)


@app.command()
def history(
    peer: Annotated[str, typer.Argument(metavar="[NAME]", help="With whom.", show_default=False)] = "",
    group: GroupOption = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many messages at most.")] = 50,
    seqs: Annotated[bool, typer.Option("--seqs", help="With the SEQ of each, for edit, delete and react.")] = False,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Show the newest messages of a conversation, oldest first."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            people = UserDirectory(me)
            conversation = await find_conversation(me, people, peer, group)
            newest = [each async for each in me.messages.before(conversation.conversation_id, limit=limit)]
            for entry in reversed(newest):
                if as_json:
                    print_json(entry)
                else:
                    place = f"{entry.seq:>5}  " if seqs else ""
                    out.print(Text(place, style="dim") + await format_entry(entry, people), soft_wrap=True)
        if not newest and not as_json:
            print_line("Nothing was said yet.", style="dim")

    run_command(run(), door)


@app.command()
def conversations(
    name: AsOption = "", door: DoorOption = DOOR, as_json: JsonOption = False, tls: TlsOption = False, ca: CaOption = None
) -> None:
    """Show your conversations, and how much of each you have not read."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            if not as_json:
                await show_conversations(me, UserDirectory(me))
                return
            async for conversation in me.conversations.list():
                print_json(conversation)

    run_command(run(), door)


async def show_conversations(me: Client, people: UserDirectory) -> None:
    """The list, by title."""
    lines = []
    async for conversation in me.conversations.list():
        unread = f"  ({conversation.unread_count} unread)" if conversation.unread_count else ""
        gone = "  (left)" if is_former_member(me, conversation) else ""
        lines.append(printable(await people.conversation_title(conversation)) + unread + gone)
    for each in sorted(lines, key=str.casefold):
        print_line(each)
    print_line("Talk with `parley chat NAME` or `parley chat --group TITLE`.", style="dim")

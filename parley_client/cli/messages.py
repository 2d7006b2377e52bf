"""The commands `send`, `history` and `conversations`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text

from parley_client.cli import options
from parley_client.cli.command import appended_fields, open_client, out, print_json, print_line, run_command
from parley_client.cli.directory import UserDirectory, find_conversation, is_former_member, open_conversation
from parley_client.cli.errors import CommandError
from parley_client.cli.formatting import format_entry, one_cell
from parley_client.cli.options import (
    DOOR,
    MAX_SEQ,
    AsOption,
    CaOption,
    DoorOption,
    GroupOption,
    JsonOption,
    TlsOption,
    WordsCommand,
)
from parley_client.cli.stdin_lines import read_lines
from parley_client.client import Client

app = typer.Typer()


@app.command(cls=WordsCommand)
def send(
    words: Annotated[
        list[str], typer.Argument(metavar="[NAME] TEXT…", help="Login name and text; “-” reads the text from stdin.")
    ],
    group: GroupOption = "",
    reply_to: Annotated[
        int, typer.Option("--reply-to", metavar="SEQ", min=0, max=MAX_SEQ, help="The message to reply to.")
    ] = 0,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Send one message: `parley send bob hello`, or `parley send --group TITLE hello`."""

    async def run() -> None:
        peer, arguments = ("", words) if group else (words[0], words[1:])
        text = await _read_stdin() if arguments == ["-"] else " ".join(arguments)
        if not text.strip():
            raise CommandError("The text is missing: `parley send NAME TEXT`.")
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            conversation = await open_conversation(client, UserDirectory(client), peer, group)
            sent = await client.messages.send(conversation.conversation_id, text, reply_to_seq=reply_to)
        if as_json:
            print_json({"conversation_id": conversation.conversation_id, **appended_fields(sent)})
        else:
            print_line("✓ sent", style="green")

    run_command(run(), door)


async def _read_stdin() -> str:
    """Return all of stdin without the line breaks at its end; Ctrl-C interrupts it."""
    return "".join([line async for line in read_lines(sys.stdin.fileno())]).rstrip("\n")


@app.command()
def history(
    peer: Annotated[str, typer.Argument(metavar="NAME", help="The other user's login name.", show_default=False)] = "",
    group: GroupOption = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Maximum number of messages.")] = 50,
    seqs: Annotated[bool, typer.Option("--seqs", help="Show each message's SEQ, for edit, delete and react.")] = False,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Show the newest messages of a conversation, oldest first."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            directory = UserDirectory(client)
            conversation = await find_conversation(client, directory, peer, group)
            newest = [each async for each in client.messages.list_before(conversation.conversation_id, limit=limit)]
            for message in reversed(newest):
                if as_json:
                    print_json(message.entry)
                else:
                    seq = f"{message.seq:>5}  " if seqs else ""
                    out.print(Text(seq, style="dim") + await format_entry(message.entry, directory), soft_wrap=True)
        if not newest and not as_json:
            print_line("Nothing has been sent yet.", style="dim")

    run_command(run(), door)


@app.command()
def conversations(
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """List your conversations and their unread counts."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            if not as_json:
                await show_conversations(client, UserDirectory(client))
                return
            async for conversation in client.conversations.list():
                print_json(conversation)

    run_command(run(), door)


async def show_conversations(client: Client, directory: UserDirectory) -> None:
    """Print the conversations, sorted by title."""
    lines = []
    async for conversation in client.conversations.list():
        unread = f"  ({conversation.unread_count} unread)" if conversation.unread_count else ""
        left = "  (left)" if is_former_member(client, conversation) else ""
        lines.append(one_cell(await directory.conversation_title(conversation)) + unread + left)
    for line in sorted(lines, key=str.casefold):
        print_line(line)
    print_line("Open one with `parley chat NAME` or `parley chat --group TITLE`.", style="dim")

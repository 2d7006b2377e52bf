"""The commands `send`, `history` and `conversations`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from parley.chat.v1.entry_pb2 import Content
from parley_client import contents
from parley_client.cli import options
from parley_client.cli.command import appended_fields, open_client, out, print_json, print_line, run_command
from parley_client.cli.directory import UserDirectory, find_conversation, is_former_member, open_conversation
from parley_client.cli.errors import CommandError
from parley_client.cli.formatting import format_entry
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
from parley_client.cli.text import one_cell
from parley_client.cli.transfers import show_transfer
from parley_client.client import Client
from parley_client.media.facts import Media

app = typer.Typer()


@app.command(cls=WordsCommand)
def send(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME] [TEXT]…", help="Login name and text; “-” reads the text from stdin.", show_default=False
        ),
    ] = None,
    group: GroupOption = "",
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="PATH", help="Send this file instead of a text.", exists=True, dir_okay=False),
    ] = None,
    caption: Annotated[str, typer.Option("--caption", metavar="TEXT", help="The caption of the file.")] = "",
    reply_to: Annotated[
        int, typer.Option("--reply-to", metavar="SEQ", min=0, max=MAX_SEQ, help="The message to reply to.")
    ] = 0,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Send one message: `parley send bob hello`, `parley send --group TITLE hello`, `parley send bob --file cat.jpg`.

    An interrupted upload of a large file continues when it is repeated.
    """

    async def run() -> None:
        arguments = list(words or [])
        peer = "" if group or not arguments else arguments.pop(0)
        if caption and file is None:
            raise CommandError("--caption needs a file: `parley send NAME --file PATH --caption TEXT`.")
        if file is not None and arguments:
            raise CommandError("A file has no text but a caption: `parley send NAME --file PATH --caption TEXT`.")
        text = await _read_text(arguments) if file is None else ""
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            conversation = await open_conversation(client, UserDirectory(client), peer, group)
            content: str | Content = text
            fields = {}
            if file is not None:
                media = await _upload(client, file)
                content, fields = contents.media(media, caption), {"media_id": media.media_id}
            sent = await client.messages.send(conversation.conversation_id, content, reply_to_seq=reply_to)
        if as_json:
            print_json({"conversation_id": conversation.conversation_id, **appended_fields(sent), **fields})
        else:
            print_line("✓ sent", style="green")

    run_command(run(), door)


async def _upload(client: Client, file: Path) -> Media:
    with show_transfer(file.name) as on_progress:
        return await client.files.upload(file, on_progress=on_progress)


async def _read_text(arguments: list[str]) -> str:
    text = await _read_stdin() if arguments == ["-"] else " ".join(arguments)
    if not text.strip():
        raise CommandError("The text is missing: `parley send NAME TEXT`.")
    return text


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
    """List your conversations, their unread counts, and which are muted."""

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
        muted = "  (muted)" if conversation.HasField("mute_until_time") else ""
        left = "  (left)" if is_former_member(client, conversation) else ""
        lines.append(one_cell(await directory.conversation_title(conversation)) + unread + muted + left)
    for line in sorted(lines, key=str.casefold):
        print_line(line)
    print_line("Open one with `parley chat NAME` or `parley chat --group TITLE`.", style="dim")

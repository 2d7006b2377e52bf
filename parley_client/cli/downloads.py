"""The command `download`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import open_client, print_json, print_line, run_command
from parley_client.cli.directory import UserDirectory, find_conversation
from parley_client.cli.errors import CommandError
from parley_client.cli.media_text import format_size
from parley_client.cli.message_arguments import fetch_message, parse_message_arguments
from parley_client.cli.options import (
    DOOR,
    AsOption,
    CaOption,
    DoorOption,
    GroupOption,
    JsonOption,
    TlsOption,
    WordsCommand,
)
from parley_client.cli.text import one_cell
from parley_client.cli.transfers import show_transfer
from parley_client.client import Client
from parley_client.media.facts import Media, MediaVariant

app = typer.Typer()
_MEDIA_ID = re.compile("[0-9a-f]{32}")


@app.command(cls=WordsCommand)
def download(
    arguments: Annotated[
        list[str], typer.Argument(metavar="[NAME] SEQ", help="Login name and SEQ, or the id of a file alone.")
    ],
    group: GroupOption = "",
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="PATH", help="A folder, or the file to write.", show_default="here"),
    ] = Path(),
    preview: Annotated[
        bool, typer.Option("--preview", help="A picture of at most 1,280 pixels instead; only of larger ones.")
    ] = False,
    thumbnail: Annotated[bool, typer.Option("--thumbnail", help="A picture of at most 320 pixels instead.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file. Otherwise “ (1)” is added to the name.")
    ] = False,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Save the file of a message: `parley download bob 12`. `history --seqs` shows each SEQ.

    An interrupted download continues when it is repeated.
    """

    async def run() -> None:
        if preview and thumbnail:
            raise CommandError("Choose one of --preview and --thumbnail.")
        variant = MediaVariant.PREVIEW if preview else MediaVariant.THUMBNAIL if thumbnail else MediaVariant.ORIGINAL
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            media = await _find_media(client, arguments, group)
            with show_transfer(media.file_name or str(output)) as on_progress:
                path = await client.files.download(
                    media, output, variant=variant, overwrite=overwrite, on_progress=on_progress
                )
        _print_result(as_json, media, path)

    run_command(run(), door)


async def _find_media(client: Client, arguments: list[str], group: str) -> Media:
    if not group and len(arguments) == 1 and _MEDIA_ID.fullmatch(arguments[0]):
        return await client.files.get(arguments[0])
    peer, seq, rest = parse_message_arguments(arguments, group)
    if rest:
        raise CommandError("Name one message: `parley download NAME SEQ`.")
    conversation = await find_conversation(client, UserDirectory(client), peer, group)
    media = (await fetch_message(client, conversation.conversation_id, seq)).media
    if media is None:
        raise CommandError(f"The message {seq} has no file.")
    return media


def _print_result(as_json: bool, media: Media, path: Path) -> None:
    size_bytes = path.stat().st_size
    if as_json:
        print_json({"media_id": media.media_id, "file": str(path), "bytes": size_bytes})
    else:
        print_line(f"Saved {format_size(size_bytes)} to {one_cell(str(path))}.", style="green")

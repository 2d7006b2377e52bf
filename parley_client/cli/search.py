"""The command `search`."""

from __future__ import annotations

from typing import Annotated

import typer

from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli import options
from parley_client.cli.command import open_client, out, print_json, print_line, run_command
from parley_client.cli.directory import UserDirectory, find_conversation
from parley_client.cli.formatting import format_entry
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, GroupOption, JsonOption, TlsOption
from parley_client.cli.text import one_cell
from parley_client.client import Client

app = typer.Typer()


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORD", help="Words that must all occur in the message.")],
    peer: Annotated[str, typer.Option("--with", metavar="NAME", help="Search the conversation with NAME only.")] = "",
    group: GroupOption = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Maximum number of messages.")] = 20,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Find messages by their words, newest first, in all conversations or in one."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            directory = UserDirectory(client)
            scope = await find_conversation(client, directory, peer, group) if peer or group else Conversation()
            titles = {} if as_json else await _titles(client, directory)
            count = 0
            async for message in client.messages.search(" ".join(words), scope.conversation_id, limit):
                count += 1
                if as_json:
                    print_json(message.entry)
                    continue
                print_line(titles.get(message.conversation_id, "a conversation you left"), style="bold")
                out.print(await format_entry(message.entry, directory), soft_wrap=True)
        if not count and not as_json:
            print_line("Nothing was found. A message must contain all the words.", style="dim")

    run_command(run(), door)


async def _titles(client: Client, directory: UserDirectory) -> dict[str, str]:
    return {
        conversation.conversation_id: one_cell(await directory.conversation_title(conversation))
        async for conversation in client.conversations.list()
    }

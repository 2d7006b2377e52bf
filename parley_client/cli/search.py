"""`search`: messages by their words."""

from __future__ import annotations

from typing import Annotated

import typer

from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli import options
from parley_client.cli.command import open_client, out, run_command, print_line, print_json
from parley_client.cli.directory import UserDirectory, find_conversation
from parley_client.cli.formatting import printable, format_entry
from parley_client.cli.options import DOOR, AsOption, DoorOption, TlsOption, GroupOption, JsonOption, CaOption
from parley_client.client import Client

app = typer.Typer()


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="All of them must occur.")],
    peer: Annotated[str, typer.Option("--with", metavar="NAME", help="Only what was said with NAME.")] = "",
    group: GroupOption = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many messages at most.")] = 20,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Find messages by their words, newest first, in all your conversations or in one."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            people = UserDirectory(me)
            where = await find_conversation(me, people, peer, group) if peer or group else Conversation()
            titles = {} if as_json else await _titles(me, people)
            count = 0
            async for entry in me.messages.search(" ".join(words), where.conversation_id, limit):
                count += 1
                if as_json:
                    print_json(entry)
                    continue
                print_line(titles.get(entry.conversation_id, "a conversation you left"), style="bold")
                out.print(await format_entry(entry, people), soft_wrap=True)
        if not count and not as_json:
            print_line("Nothing was found. All the words must occur in one message.", style="dim")

    run_command(run(), door)


async def _titles(me: Client, people: UserDirectory) -> dict[str, str]:
    return {each.conversation_id: printable(await people.conversation_title(each)) async for each in me.conversations.list()}

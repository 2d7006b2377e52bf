"""The commands `edit`, `delete` and `react`, which change a sent message."""

from __future__ import annotations

from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import appended_fields, open_client, print_json, print_line, run_command
from parley_client.cli.directory import UserDirectory, find_conversation
from parley_client.cli.errors import CommandError
from parley_client.cli.message_arguments import parse_message_arguments
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
from parley_client.messages import AppendResult

app = typer.Typer()
EditArguments = Annotated[list[str], typer.Argument(metavar="[NAME] SEQ TEXT…", help="Login name, SEQ and new text.")]
MessageArguments = Annotated[list[str], typer.Argument(metavar="[NAME] SEQ", help="Login name and SEQ.")]
ReactionArguments = Annotated[
    list[str], typer.Argument(metavar="[NAME] SEQ [EMOJI]", help="Login name, SEQ and emoji.")
]
ForMeOption = Annotated[bool, typer.Option("--for-me", help="Delete it from your own view only.")]


@app.command(cls=WordsCommand)
def edit(
    arguments: EditArguments,
    group: GroupOption = "",
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Replace the text of your message: `parley edit bob 12 what I meant`. `history --seqs` shows each SEQ."""

    async def run() -> None:
        peer, seq, text = parse_message_arguments(arguments, group)
        if not "".join(text).strip():
            raise CommandError("The new text is missing: `parley edit NAME SEQ TEXT`.")
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            conversation = await find_conversation(client, UserDirectory(client), peer, group)
            sent = await client.messages.edit(conversation.conversation_id, seq, " ".join(text))
        _print_result(as_json, conversation.conversation_id, sent, "✓ edited")

    run_command(run(), door)


@app.command(cls=WordsCommand)
def delete(
    arguments: MessageArguments,
    group: GroupOption = "",
    for_me: ForMeOption = False,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Delete a message for everybody: `parley delete bob 12`. Group admins may delete any message, others their own."""

    async def run() -> None:
        peer, seq, _ = parse_message_arguments(arguments, group)
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            conversation = await find_conversation(client, UserDirectory(client), peer, group)
            sent = await client.messages.delete(conversation.conversation_id, seq, for_all=not for_me)
        _print_result(as_json, conversation.conversation_id, sent, "✓ deleted")

    run_command(run(), door)


@app.command(cls=WordsCommand)
def react(
    arguments: ReactionArguments,
    group: GroupOption = "",
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """React to a message: `parley react bob 12 👍`. Without EMOJI, your reaction is removed."""

    async def run() -> None:
        peer, seq, text = parse_message_arguments(arguments, group)
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            conversation = await find_conversation(client, UserDirectory(client), peer, group)
            sent = await client.messages.set_reaction(conversation.conversation_id, seq, "".join(text[:1]))
        _print_result(as_json, conversation.conversation_id, sent, "✓ reacted" if text else "✓ reaction removed")

    run_command(run(), door)


def _print_result(as_json: bool, conversation_id: str, sent: AppendResult | None, text: str) -> None:
    if as_json:
        print_json({"conversation_id": conversation_id, **appended_fields(sent)})
    else:
        print_line(text, style="green")

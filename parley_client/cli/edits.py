"""`edit`, `delete` and `react`: what changes a message that was sent."""

from __future__ import annotations

from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import appended_fields, open_client, run_command, print_line, print_json
from parley_client.cli.directory import UserDirectory, find_conversation
from parley_client.cli.errors import CommandError
from parley_client.cli.options import DOOR, MAX_SEQ, AsOption, DoorOption, TlsOption, GroupOption, JsonOption, CaOption
from parley_client.history import Sent

app = typer.Typer()
EditArguments = Annotated[list[str], typer.Argument(metavar="[NAME] SEQ TEXT…", help="With whom, which message, and what.")]
MessageArguments = Annotated[list[str], typer.Argument(metavar="[NAME] SEQ", help="With whom, and which message.")]
ReactionArguments = Annotated[list[str], typer.Argument(metavar="[NAME] SEQ [EMOJI]", help="With whom, which message, and what.")]
ForMeOption = Annotated[bool, typer.Option("--for-me", help="Only from your own view.")]


@app.command()
def edit(
    words: EditArguments,
    group: GroupOption = "",
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Let a message of yours say something else: `parley edit bob 12 what I meant`. SEQ is in `history --seqs`."""

    async def run() -> None:
        peer, seq, said = _parse_message_arguments(words, group)
        if not said:
            raise CommandError("Say what it shall say: `parley edit NAME SEQ TEXT`.")
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            conversation = await find_conversation(me, UserDirectory(me), peer, group)
            sent = await me.messages.edit(conversation.conversation_id, seq, " ".join(said))
        _print_result(as_json, conversation.conversation_id, sent, "✓ edited")

    run_command(run(), door)


@app.command()
def delete(
    which: MessageArguments,
    group: GroupOption = "",
    for_me: ForMeOption = False,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Take a message away from everybody (yours; an admin's any): `parley delete bob 12`."""

    async def run() -> None:
        peer, seq, _ = _parse_message_arguments(which, group)
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            conversation = await find_conversation(me, UserDirectory(me), peer, group)
            sent = await me.messages.delete(conversation.conversation_id, seq, for_all=not for_me)
        _print_result(as_json, conversation.conversation_id, sent, "✓ deleted")

    run_command(run(), door)


@app.command()
def react(
    mark: ReactionArguments,
    group: GroupOption = "",
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """React to a message: `parley react bob 12 👍`. Without EMOJI your reaction is taken back."""

    async def run() -> None:
        peer, seq, said = _parse_message_arguments(mark, group)
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            conversation = await find_conversation(me, UserDirectory(me), peer, group)
            sent = await me.messages.set_reaction(conversation.conversation_id, seq, "".join(said[:1]))
        _print_result(as_json, conversation.conversation_id, sent, "✓ reacted" if said else "✓ taken back")

    run_command(run(), door)


def _parse_message_arguments(words: list[str], group: str) -> tuple[str, int, list[str]]:
    """With whom, which message, and the rest."""
    peer, rest = ("", words) if group else (words[0], words[1:])
    if not rest or not rest[0].isdecimal() or int(rest[0]) > MAX_SEQ:
        raise CommandError("Say which message by its SEQ, a number; `parley history NAME --seqs` shows them.")
    return peer, int(rest[0]), rest[1:]


def _print_result(as_json: bool, conversation_id: str, sent: Sent | None, words: str) -> None:
    if as_json:
        print_json({"conversation_id": conversation_id, **appended_fields(sent)})
    else:
        print_line(words, style="green")

"""`edit`, `delete` and `react`: what changes a message that was sent."""

from __future__ import annotations

from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import appended, client, perform, say, say_json
from parley_client.cli.directory import People, begun_with
from parley_client.cli.errors import Sorry
from parley_client.cli.options import DOOR, LAST_SEQ, As, Door, Encrypted, Group, Json, Roots
from parley_client.history import Sent

app = typer.Typer()
Words = Annotated[list[str], typer.Argument(metavar="[NAME] SEQ TEXT…", help="With whom, which message, and what.")]
Which = Annotated[list[str], typer.Argument(metavar="[NAME] SEQ", help="With whom, and which message.")]
Mark = Annotated[list[str], typer.Argument(metavar="[NAME] SEQ [EMOJI]", help="With whom, which message, and what.")]
ForMe = Annotated[bool, typer.Option("--for-me", help="Only from your own view.")]


@app.command()
def edit(
    words: Words,
    group: Group = "",
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Let a message of yours say something else: `parley edit bob 12 what I meant`. SEQ is in `history --seqs`."""

    async def run() -> None:
        peer, seq, said = _message(words, group)
        if not said:
            raise Sorry("Say what it shall say: `parley edit NAME SEQ TEXT`.")
        async with client(door, options.tls(tls, ca), name) as me:
            conversation = await begun_with(me, People(me), peer, group)
            sent = await me.messages.edit(conversation.conversation_id, seq, " ".join(said))
        _tell(as_json, conversation.conversation_id, sent, "✓ edited")

    perform(run(), door)


@app.command()
def delete(
    which: Which,
    group: Group = "",
    for_me: ForMe = False,
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Take a message away from everybody (yours; an admin's any): `parley delete bob 12`."""

    async def run() -> None:
        peer, seq, _ = _message(which, group)
        async with client(door, options.tls(tls, ca), name) as me:
            conversation = await begun_with(me, People(me), peer, group)
            sent = await me.messages.delete(conversation.conversation_id, seq, for_all=not for_me)
        _tell(as_json, conversation.conversation_id, sent, "✓ deleted")

    perform(run(), door)


@app.command()
def react(
    mark: Mark,
    group: Group = "",
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """React to a message: `parley react bob 12 👍`. Without EMOJI your reaction is taken back."""

    async def run() -> None:
        peer, seq, said = _message(mark, group)
        async with client(door, options.tls(tls, ca), name) as me:
            conversation = await begun_with(me, People(me), peer, group)
            sent = await me.messages.set_reaction(conversation.conversation_id, seq, "".join(said[:1]))
        _tell(as_json, conversation.conversation_id, sent, "✓ reacted" if said else "✓ taken back")

    perform(run(), door)


def _message(words: list[str], group: str) -> tuple[str, int, list[str]]:
    """With whom, which message, and the rest."""
    peer, rest = ("", words) if group else (words[0], words[1:])
    if not rest or not rest[0].isdecimal() or int(rest[0]) > LAST_SEQ:
        raise Sorry("Say which message by its SEQ, a number; `parley history NAME --seqs` shows them.")
    return peer, int(rest[0]), rest[1:]


def _tell(as_json: bool, conversation_id: str, sent: Sent | None, words: str) -> None:
    if as_json:
        say_json({"conversation_id": conversation_id, **appended(sent)})
    else:
        say(words, style="green")

"""`privacy`: what one lets others do."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from parley.chat.v1 import account_pb2
from parley_client.cli import options
from parley_client.cli.command import client, perform, say, say_json
from parley_client.cli.options import DOOR, As, Door, Encrypted, Json, Roots

app = typer.Typer()


class Adders(StrEnum):
    """Who may add somebody to groups."""

    EVERYONE = "everyone"
    CONTACTS = "contacts"
    NOBODY = "nobody"


_VALUES = {
    None: account_pb2.WHO_MAY_ADD_UNSPECIFIED,
    Adders.EVERYONE: account_pb2.WHO_MAY_ADD_EVERYONE,
    Adders.CONTACTS: account_pb2.WHO_MAY_ADD_CONTACTS,
    Adders.NOBODY: account_pb2.WHO_MAY_ADD_NOBODY,
}
_WORDS = {value: str(adders) for adders, value in _VALUES.items() if adders}


@app.command()
def privacy(
    who_may_add: Annotated[Adders | None, typer.Option(help="Who may add you to groups.", show_default=False)] = None,
    found: Annotated[
        bool | None,
        typer.Option("--found/--not-found", help="Whether searches find you by the beginning of a name."),
    ] = None,
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Show what you let others do, or change it."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            if who_may_add is None and found is None:
                now = await me.accounts.privacy()
            else:
                now = await me.accounts.update_privacy(who_may_add=_VALUES[who_may_add], found_by_search=found)
        if as_json:
            say_json(now)
            return
        say(f"May add you to groups: {_WORDS.get(now.who_may_add, 'everyone')}.")
        by = "the beginning of a name" if now.found_by_search else "your whole login name only"
        say(f"Searches find you by {by}.")

    perform(run(), door)

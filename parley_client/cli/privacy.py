"""`privacy`: what one lets others do."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from parley.chat.v1 import account_pb2
from parley_client.cli import options
from parley_client.cli.command import open_client, run_command, print_line, print_json
from parley_client.cli.options import DOOR, AsOption, DoorOption, TlsOption, JsonOption, CaOption

app = typer.Typer()


class WhoMayAdd(StrEnum):
    """Who may add somebody to groups."""

    EVERYONE = "everyone"
    CONTACTS = "contacts"
    NOBODY = "nobody"


_PROTO_VALUES = {
    None: account_pb2.WHO_MAY_ADD_UNSPECIFIED,
    WhoMayAdd.EVERYONE: account_pb2.WHO_MAY_ADD_EVERYONE,
    WhoMayAdd.CONTACTS: account_pb2.WHO_MAY_ADD_CONTACTS,
    WhoMayAdd.NOBODY: account_pb2.WHO_MAY_ADD_NOBODY,
}
_LABELS = {value: str(adders) for adders, value in _PROTO_VALUES.items() if adders}


@app.command()
def privacy(
    who_may_add: Annotated[WhoMayAdd | None, typer.Option(help="Who may add you to groups.", show_default=False)] = None,
    found: Annotated[
        bool | None,
        typer.Option("--found/--not-found", help="Whether searches find you by the beginning of a name."),
    ] = None,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Show what you let others do, or change it."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            if who_may_add is None and found is None:
                now = await me.accounts.privacy()
            else:
                now = await me.accounts.update_privacy(who_may_add=_PROTO_VALUES[who_may_add], found_by_search=found)
        if as_json:
            print_json(now)
            return
        print_line(f"May add you to groups: {_LABELS.get(now.who_may_add, 'everyone')}.")
        by = "the beginning of a name" if now.found_by_search else "your whole login name only"
        print_line(f"Searches find you by {by}.")

    run_command(run(), door)

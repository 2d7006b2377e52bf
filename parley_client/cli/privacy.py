"""The command `privacy`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from parley.chat.v1 import account_pb2
from parley_client.cli import options
from parley_client.cli.command import open_client, print_json, print_line, run_command
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, JsonOption, TlsOption

app = typer.Typer()


class WhoMayAdd(StrEnum):
    """The users who may add the account to groups, as the command line names them."""

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
    who_may_add: Annotated[
        WhoMayAdd | None, typer.Option(help="The users who may add you to groups.", show_default=False)
    ] = None,
    found: Annotated[
        bool | None,
        typer.Option(
            "--found/--not-found",
            help="Let searches find you by the start of your name, or by your whole login name only.",
        ),
    ] = None,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Show your privacy settings, or change them."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            if who_may_add is None and found is None:
                settings = await client.accounts.get_privacy()
            else:
                settings = await client.accounts.update_privacy(
                    who_may_add=_PROTO_VALUES[who_may_add], found_by_search=found
                )
        if as_json:
            print_json(settings)
            return
        print_line(f"Users who may add you to groups: {_LABELS.get(settings.who_may_add, 'everyone')}.")
        key = "the start of your name" if settings.found_by_search else "your whole login name only"
        print_line(f"Searches find you by {key}.")

    run_command(run(), door)

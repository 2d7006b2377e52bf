"""The typer application that joins all commands."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from parley_client.cli import (
    account_management,
    accounts,
    blocks,
    chat,
    demo,
    devices,
    downloads,
    edits,
    groups,
    messages,
    personal_settings,
    presence,
    privacy,
    push,
    search,
)
from parley_client.cli.usage_errors import ParleyGroup

app = typer.Typer(
    name="parley",
    cls=ParleyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    accounts,
    chat,
    messages,
    downloads,
    edits,
    search,
    personal_settings,
    blocks,
    privacy,
    account_management,
    demo,
):
    app.registered_commands += module.app.registered_commands
app.add_typer(groups.app, name="groups")
app.add_typer(devices.app, name="devices")
app.add_typer(presence.app, name="presence")
app.add_typer(push.app, name="push")


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"parley {version('parley')}")
        raise typer.Exit


@app.callback()
def parley(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Send and read Parley messages in a terminal. Start with `parley register NAME`, then `parley chat NAME`."""

"""The command as a whole."""

from __future__ import annotations

import typer

from parley_client.cli import accounts, blocks, chat, demo, devices, edits, groups, keeping, messages, privacy, search

app = typer.Typer(
    name="parley",
    help="Talk over Parley from a terminal. Begin with `parley register NAME`, then `parley chat NAME`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (accounts, chat, messages, edits, search, blocks, privacy, keeping, demo):
    app.registered_commands += room.app.registered_commands
app.add_typer(groups.app, name="groups")
app.add_typer(devices.app, name="devices")

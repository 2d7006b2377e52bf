"""The command `push preferences`."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import open_client, print_json, print_line, run_command
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, JsonOption, TlsOption
from parley_client.cli.push_text import describe_preferences
from parley_client.cli.quiet_hours import change_quiet_hours, validate_hours
from parley_client.push_preferences import (
    NotificationPreferences,
    NotificationPreview,
    NotificationScope,
)


class ScopeName(StrEnum):
    """The messages that notify, as the command line names them."""

    ALL = "all"
    MENTIONS = "mentions"
    NONE = "none"


class PreviewName(StrEnum):
    """The part of a message that a notification shows, as the command line names it."""

    FULL = "full"
    SENDER = "sender"
    NONE = "none"


def _validate_hours(quiet: str | None) -> str | None:
    try:
        return None if quiet is None else validate_hours(quiet)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


ScopeOption = Annotated[
    ScopeName | None,
    typer.Option(
        help="The messages that notify you; “mentions”: in groups, those that mention you or reply to you.",
        show_default=False,
    ),
]
PreviewOption = Annotated[
    PreviewName | None,
    typer.Option(
        help="What notifications show: sender and text, the sender, or only that there is a message.",
        show_default=False,
    ),
]
ReactionsOption = Annotated[
    bool | None, typer.Option("--reactions/--no-reactions", help="Notify you of reactions to your messages.")
]
QuietOption = Annotated[
    str | None,
    typer.Option(
        metavar="HH:MM-HH:MM",
        callback=_validate_hours,
        help="The hours without notifications, such as 22:00-07:00, or “none”; the same time twice: the whole day.",
        show_default=False,
    ),
]
ZoneOption = Annotated[
    str | None,
    typer.Option(
        metavar="ZONE",
        help="The time zone of the quiet hours, such as Europe/Lisbon; “localtime”: that of this machine.",
        show_default="as before, or that of this machine",
    ),
]

app = typer.Typer()


@app.command()
def preferences(
    scope: ScopeOption = None,
    preview: PreviewOption = None,
    reactions: ReactionsOption = None,
    quiet: QuietOption = None,
    zone: ZoneOption = None,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Show your notification preferences, which hold for all your devices, or change them."""

    def change(found: NotificationPreferences) -> NotificationPreferences:
        return replace(
            found,
            scope=NotificationScope[scope.name] if scope else found.scope,
            preview=NotificationPreview[preview.name] if preview else found.preview,
            reactions=found.reactions if reactions is None else reactions,
            quiet_hours=change_quiet_hours(found.quiet_hours, quiet, zone),
        )

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            found = await client.push.get_preferences()
            wanted = change(found)
            if wanted != found:
                wanted = await client.push.set_preferences(wanted)
        _print_preferences(wanted, as_json)

    run_command(run(), door)


def _print_preferences(preferences: NotificationPreferences, as_json: bool) -> None:
    if as_json:
        print_json(preferences.to_proto())
        return
    for line in describe_preferences(preferences):
        print_line(line)

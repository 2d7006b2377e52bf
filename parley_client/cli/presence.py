"""The commands `presence` and `presence visibility`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from parley_client.cli import options
from parley_client.cli.command import err, open_client, print_json, print_line, run_command
from parley_client.cli.directory import UserDirectory
from parley_client.cli.errors import CommandError
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, JsonOption, TlsOption
from parley_client.cli.presence_text import AUDIENCES, describe_presence
from parley_client.cli.text import one_cell
from parley_client.client import Client
from parley_client.errors import ParleyError, Superseded
from parley_client.presence_state import Audience, UserPresence, Visibility


class PresenceGroup(TyperGroup):
    """The group `presence`: names of users instead of a command are the arguments of `show`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after `presence`."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["show", *args]
        return super().parse_args(ctx, args)


class AudienceName(StrEnum):
    """The audience of a part of the presence, as the command line names it."""

    EVERYONE = "everyone"
    ACQUAINTED = "acquainted"
    NOBODY = "nobody"


app = typer.Typer(
    cls=PresenceGroup,
    no_args_is_help=True,
    help="Show who is online, and choose who sees that of you. `parley presence NAME...` is short for `presence show`.",
)


@app.command()
def show(
    login_names: Annotated[list[str], typer.Argument(metavar="NAME", help="The users' login names.")],
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Then print each change as it comes, until Ctrl-C.")
    ] = False,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Show whether users are online, away (in the background) or offline, and when they last were online.

    Users who do not show it to you, or never were online, look offline.
    """

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            names_by_id = await UserDirectory(client).find_user_ids(login_names)
            width = max(map(len, names_by_id.values()))

            def print_presence(presence: UserPresence) -> None:
                login_name = names_by_id[presence.user_id]
                if as_json:
                    print_json({"login_name": login_name, **_presence_fields(presence)})
                else:
                    print_line(_format_presence(presence, one_cell(login_name).ljust(width), with_time=watch))

            if watch:
                await _watch(client, names_by_id, print_presence)
            else:
                for presence in (await client.presence.get(names_by_id)).values():
                    print_presence(presence)

    run_command(run(), door)


@app.command()
def visibility(
    online: Annotated[
        AudienceName | None, typer.Option(help="Who sees whether you are online.", show_default=False)
    ] = None,
    last_seen: Annotated[
        AudienceName | None, typer.Option(help="Who sees when you last were online.", show_default=False)
    ] = None,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Show who sees whether you are online and when you last were, or change it.

    Acquainted are the users to whom you have written, or with whom you began the conversation. Blocked users see
    nothing. What you show to nobody, you do not see of others.
    """

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            if online is None and last_seen is None:
                settings = await client.presence.get_visibility()
            else:
                settings = await client.presence.set_visibility(
                    online=_audience(online), last_seen=_audience(last_seen)
                )
        if as_json:
            print_json(_visibility_fields(settings))
            return
        print_line(f"Users who see whether you are online: {AUDIENCES[settings.online]}.")
        print_line(f"Users who see when you last were online: {AUDIENCES[settings.last_seen]}.")

    run_command(run(), door)


async def _watch(
    client: Client, names_by_id: Mapping[str, str], print_presence: Callable[[UserPresence], None]
) -> None:
    """Print the presence of users, then each change. Raise CommandError if another watch replaced this one."""
    try:
        async with aclosing(client.presence.watch(names_by_id, on_connection_change=_report_connection)) as presences:
            async for presence in presences:
                print_presence(presence)
    except Superseded:
        raise CommandError(
            "This account watches elsewhere on this machine now. Only its newest watch goes on."
        ) from None


def _report_connection(error: ParleyError | None) -> None:
    """Report on stderr that the connection is lost, or back if `error` is None."""
    text = "The connection is back." if error is None else "The connection is lost. Trying again…"
    err.print(text, style="dim" if error is None else "red", soft_wrap=True)


def _format_presence(presence: UserPresence, shown_name: str, *, with_time: bool) -> str:
    now = datetime.now().astimezone()
    text = describe_presence(presence.state, presence.last_seen, now) or "offline"
    return f"{now:%H:%M:%S}  {shown_name}  {text}" if with_time else f"{shown_name}  {text}"


def _presence_fields(presence: UserPresence) -> dict[str, str | None]:
    """Return the JSON fields of a presence, as in the proto Presence."""
    return {
        "user_id": presence.user_id,
        "state": f"PRESENCE_STATE_{presence.state.name}",
        "last_seen_time": presence.last_seen.isoformat() if presence.last_seen else None,
    }


def _visibility_fields(settings: Visibility) -> dict[str, str]:
    """Return the JSON fields of the settings, as in the proto Visibility."""
    return {"online": f"AUDIENCE_{settings.online.name}", "last_seen": f"AUDIENCE_{settings.last_seen.name}"}


def _audience(audience: AudienceName | None) -> Audience | None:
    return Audience[audience.name] if audience is not None else None

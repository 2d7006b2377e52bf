"""`block`, `unblock` and `blocked`."""

from __future__ import annotations

from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import open_client, run_command, print_line, print_json
from parley_client.cli.directory import UserDirectory
from parley_client.cli.formatting import printable
from parley_client.cli.options import DOOR, AsOption, DoorOption, TlsOption, JsonOption, CaOption

app = typer.Typer()
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Whom.")]


@app.command()
def block(
    who: NameArgument, name: AsOption = "", door: DoorOption = DOOR, as_json: JsonOption = False, tls: TlsOption = False, ca: CaOption = None
) -> None:
    """Bar somebody from writing to you, from adding you to groups, and from seeing whether you are online."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            user_id = await UserDirectory(me).find_user_id(who)
            await me.accounts.block(user_id)
        _print_block(as_json, who, user_id, True)

    run_command(run(), door)


@app.command()
def unblock(
    who: NameArgument, name: AsOption = "", door: DoorOption = DOOR, as_json: JsonOption = False, tls: TlsOption = False, ca: CaOption = None
) -> None:
    """Take a block back."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            user_id = await UserDirectory(me).find_user_id(who)
            await me.accounts.unblock(user_id)
        _print_block(as_json, who, user_id, False)

    run_command(run(), door)


@app.command()
def blocked(name: AsOption = "", door: DoorOption = DOOR, as_json: JsonOption = False, tls: TlsOption = False, ca: CaOption = None) -> None:
    """Show whom you have blocked."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            people, count = UserDirectory(me), 0
            async for user_id in me.accounts.blocked():
                count += 1
                who = await people.display_name(user_id)
                print_json({"user_id": user_id, "display_name": who}) if as_json else print_line(printable(who))
        if not count and not as_json:
            print_line("You have blocked nobody.", style="dim")

    run_command(run(), door)


def _print_block(as_json: bool, who: str, user_id: str, now: bool) -> None:
    if as_json:
        print_json({"user_id": user_id, "blocked": now})
    else:
        print_line(f"{who} is {'blocked' if now else 'blocked no more'}.", style="green")

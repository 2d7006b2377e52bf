"""The commands `block`, `unblock` and `blocked`."""

from __future__ import annotations

from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import open_client, print_json, print_line, run_command
from parley_client.cli.directory import UserDirectory
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, JsonOption, TlsOption
from parley_client.cli.text import one_cell

app = typer.Typer()
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A login name.")]


@app.command()
def block(
    login_name: NameArgument,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Block a user: they cannot write to you, add you to groups or see whether you are online."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            user_id = await UserDirectory(client).find_user_id(login_name)
            await client.accounts.block(user_id)
        _print_block(as_json, login_name, user_id, True)

    run_command(run(), door)


@app.command()
def unblock(
    login_name: NameArgument,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Unblock a user."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            user_id = await UserDirectory(client).find_user_id(login_name)
            await client.accounts.unblock(user_id)
        _print_block(as_json, login_name, user_id, False)

    run_command(run(), door)


@app.command()
def blocked(
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """List the users you have blocked."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            directory, count = UserDirectory(client), 0
            async for user_id in client.accounts.list_blocked():
                count += 1
                display_name = await directory.display_name(user_id)
                if as_json:
                    print_json({"user_id": user_id, "display_name": display_name})
                else:
                    print_line(one_cell(display_name))
        if not count and not as_json:
            print_line("You have not blocked anybody.", style="dim")

    run_command(run(), door)


def _print_block(as_json: bool, login_name: str, user_id: str, is_blocked: bool) -> None:
    if as_json:
        print_json({"user_id": user_id, "blocked": is_blocked})
    else:
        print_line(f"{login_name} is {'blocked' if is_blocked else 'no longer blocked'}.", style="green")

"""`block`, `unblock` and `blocked`."""

from __future__ import annotations

from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.command import client, perform, say, say_json
from parley_client.cli.directory import People
from parley_client.cli.formatting import clean
from parley_client.cli.options import DOOR, As, Door, Encrypted, Json, Roots

app = typer.Typer()
Who = Annotated[str, typer.Argument(metavar="NAME", help="Whom.")]


@app.command()
def block(
    who: Who, name: As = "", door: Door = DOOR, as_json: Json = False, tls: Encrypted = False, ca: Roots = None
) -> None:
    """Bar somebody from writing to you, from adding you to groups, and from seeing whether you are online."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            user_id = await People(me).user_id(who)
            await me.accounts.block(user_id)
        _tell(as_json, who, user_id, True)

    perform(run(), door)


@app.command()
def unblock(
    who: Who, name: As = "", door: Door = DOOR, as_json: Json = False, tls: Encrypted = False, ca: Roots = None
) -> None:
    """Take a block back."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            user_id = await People(me).user_id(who)
            await me.accounts.unblock(user_id)
        _tell(as_json, who, user_id, False)

    perform(run(), door)


@app.command()
def blocked(name: As = "", door: Door = DOOR, as_json: Json = False, tls: Encrypted = False, ca: Roots = None) -> None:
    """Show whom you have blocked."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            people, count = People(me), 0
            async for user_id in me.accounts.blocked():
                count += 1
                who = await people.name(user_id)
                say_json({"user_id": user_id, "display_name": who}) if as_json else say(clean(who))
        if not count and not as_json:
            say("You have blocked nobody.", style="dim")

    perform(run(), door)


def _tell(as_json: bool, who: str, user_id: str, now: bool) -> None:
    if as_json:
        say_json({"user_id": user_id, "blocked": now})
    else:
        say(f"{who} is {'blocked' if now else 'blocked no more'}.", style="green")

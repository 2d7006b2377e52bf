"""`groups create` and `groups list`."""

from __future__ import annotations

import asyncio
import shlex
from typing import Annotated

import typer

from parley_client.cli import options
from parley_client.cli.lines import clean
from parley_client.cli.options import DOOR, As, Door, Encrypted, Json, Roots
from parley_client.cli.people import People, groups
from parley_client.cli.run import client, perform, say, say_json

app = typer.Typer(no_args_is_help=True, help="Make groups, and see which you are in.")


@app.command()
def create(
    title: Annotated[str, typer.Argument(help="1 to 128 characters.")],
    members: Annotated[list[str], typer.Argument(metavar="NAME…", help="The others, 1 to 99.")],
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Make a group: `parley groups create TITLE bob carol`."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            people = People(me)
            ids = await asyncio.gather(*[people.user_id(member) for member in dict.fromkeys(members)])
            group = await me.conversations.create_group(title, ids)
        if as_json:
            say_json(group)
        else:
            talk = f"parley chat --group {shlex.quote(clean(title))}"
            say(f"“{clean(title)}” has {len(group.members)} members. Talk with `{talk}`.", style="green")

    perform(run(), door)


@app.command("list")
def list_groups(
    name: As = "", door: Door = DOOR, as_json: Json = False, tls: Encrypted = False, ca: Roots = None
) -> None:
    """Show the groups you are in: title, members and id."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            people, mine = People(me), await groups(me)
            for group in mine:
                if as_json:
                    say_json(group)
                    continue
                names = ", ".join([await people.name(member.user_id) for member in group.members])
                unread = f", {group.unread_count} unread" if group.unread_count else ""
                say(" ".join(clean(f"{group.title}  ({names}{unread})  {group.conversation_id}").split("\n")))
        if not mine and not as_json:
            say("You are in no group. Make one with `parley groups create TITLE NAME…`", style="dim")

    perform(run(), door)

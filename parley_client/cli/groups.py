"""`groups`: making them, seeing them, and changing who is in them and what they are called."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated

import typer

from parley.chat.v1 import entry_pb2
from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.channel import Tls
from parley_client.cli import options
from parley_client.cli.command import client, perform, say, say_json
from parley_client.cli.directory import People, conversation_with, groups, left, naming
from parley_client.cli.formatting import clean
from parley_client.cli.options import DOOR, As, Door, Encrypted, Json, Roots
from parley_client.client import Client


class GroupRole(StrEnum):
    """What a member of a group may do."""

    ADMIN = "admin"
    MEMBER = "member"


Change = Callable[[Client, People, Conversation], Awaitable[str]]
"""Changes a group, and gives a sentence about it."""

Which = Annotated[str, typer.Argument(metavar="GROUP", help="Its title or id.")]
Who = Annotated[str, typer.Argument(metavar="NAME", help="Whom.")]
app = typer.Typer(no_args_is_help=True, help="Make groups, see which you are in, and change them.")


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
            others = await People(me).user_ids(members)
            with naming(others):
                group = await me.conversations.create_group(title, list(others))
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
    """Show the groups you are in, or were: title, members and id."""

    async def run() -> None:
        async with client(door, options.tls(tls, ca), name) as me:
            people, mine = People(me), await groups(me)
            for group in mine:
                if as_json:
                    say_json(group)
                    continue
                names = ", ".join([await people.name(member.user_id) for member in group.members])
                names = "left" if left(me, group) else names
                unread = f", {group.unread_count} unread" if group.unread_count else ""
                say(" ".join(clean(f"{group.title}  ({names}{unread})  {group.conversation_id}").split("\n")))
        if not mine and not as_json:
            say("You are in no group. Make one with `parley groups create TITLE NAME…`", style="dim")

    perform(run(), door)


@app.command()
def add(
    group: Which,
    members: Annotated[list[str], typer.Argument(metavar="NAME…", help="Whom.")],
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Add people to a group (admins)."""

    async def change(me: Client, people: People, found: Conversation) -> str:
        others = await people.user_ids(members)
        with naming(others):
            await me.conversations.add_members(found.conversation_id, list(others))
        return f"{', '.join(members)} can read and write in “{clean(found.title)}” from now on."

    _change(change, group, name, door, as_json, options.tls(tls, ca))


@app.command()
def remove(
    group: Which,
    member: Who,
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Remove somebody from a group (admins)."""

    async def change(me: Client, people: People, found: Conversation) -> str:
        user_id = await people.user_id(member)
        with naming({user_id: member}):
            await me.conversations.remove_member(found.conversation_id, user_id)
        return f"{member} is not in “{clean(found.title)}” any more."

    _change(change, group, name, door, as_json, options.tls(tls, ca))


@app.command()
def leave(
    group: Which, name: As = "", door: Door = DOOR, as_json: Json = False, tls: Encrypted = False, ca: Roots = None
) -> None:
    """Leave a group. If you are its last admin, whoever has been there longest becomes one."""

    async def change(me: Client, _: People, found: Conversation) -> str:
        await me.conversations.leave(found.conversation_id)
        return f"You have left “{clean(found.title)}”."

    _change(change, group, name, door, as_json, options.tls(tls, ca))


@app.command()
def rename(
    group: Which,
    title: Annotated[str, typer.Argument(help="1 to 128 characters.")],
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Give a group another title (admins)."""

    async def change(me: Client, _: People, found: Conversation) -> str:
        await me.conversations.rename(found.conversation_id, title)
        return f"“{clean(found.title)}” is called “{clean(title)}” now."

    _change(change, group, name, door, as_json, options.tls(tls, ca))


@app.command()
def role(
    group: Which,
    member: Who,
    role: Annotated[GroupRole, typer.Argument(help="What they may do from now on.")],
    name: As = "",
    door: Door = DOOR,
    as_json: Json = False,
    tls: Encrypted = False,
    ca: Roots = None,
) -> None:
    """Make somebody an admin of a group, or a plain member again (admins)."""

    async def change(me: Client, people: People, found: Conversation) -> str:
        wanted = entry_pb2.ROLE_ADMIN if role is GroupRole.ADMIN else entry_pb2.ROLE_MEMBER
        user_id = await people.user_id(member)
        with naming({user_id: member}):
            await me.conversations.set_role(found.conversation_id, user_id, wanted)
        return (
            f"{member} is {'an admin' if role is GroupRole.ADMIN else 'a plain member'} of “{clean(found.title)}” now."
        )

    _change(change, group, name, door, as_json, options.tls(tls, ca))


def _change(change: Change, group: str, name: str, door: str, as_json: bool, tls: Tls | None) -> None:
    """Change a group; with --json its id is printed."""

    async def run() -> None:
        async with client(door, tls, name) as me:
            people = People(me)
            conversation = await conversation_with(me, people, "", group)
            sentence = await change(me, people, conversation)
        if as_json:
            say_json({"conversation_id": conversation.conversation_id})
        else:
            say(sentence, style="green")

    perform(run(), door)

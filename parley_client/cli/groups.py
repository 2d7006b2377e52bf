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
from parley_client.cli.command import open_client, run_command, print_line, print_json
from parley_client.cli.directory import UserDirectory, open_conversation, fetch_groups, is_former_member, naming_refused_user
from parley_client.cli.formatting import printable
from parley_client.cli.options import DOOR, AsOption, DoorOption, TlsOption, JsonOption, CaOption
from parley_client.client import Client


class GroupRole(StrEnum):
    """What a member of a group may do."""

    ADMIN = "admin"
    MEMBER = "member"


GroupChange = Callable[[Client, UserDirectory, Conversation], Awaitable[str]]
"""Changes a group, and gives a sentence about it."""

GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="Its title or id.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Whom.")]
app = typer.Typer(no_args_is_help=True, help="Make groups, see which you are in, and change them.")


@app.command()
def create(
    title: Annotated[str, typer.Argument(help="1 to 128 characters.")],
    members: Annotated[list[str], typer.Argument(metavar="NAME…", help="The others, 1 to 99.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Make a group: `parley groups create TITLE bob carol`."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            others = await UserDirectory(me).find_user_ids(members)
            with naming_refused_user(others):
                group = await me.conversations.create_group(title, list(others))
        if as_json:
            print_json(group)
        else:
            talk = f"parley chat --group {shlex.quote(printable(title))}"
            print_line(f"“{printable(title)}” has {len(group.members)} members. Talk with `{talk}`.", style="green")

    run_command(run(), door)


@app.command("list")
def list_groups(
    name: AsOption = "", door: DoorOption = DOOR, as_json: JsonOption = False, tls: TlsOption = False, ca: CaOption = None
) -> None:
    """Show the groups you are in, or were: title, members and id."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as me:
            people, mine = UserDirectory(me), await fetch_groups(me)
            for group in mine:
                if as_json:
                    print_json(group)
                    continue
                names = ", ".join([await people.display_name(member.user_id) for member in group.members])
                names = "left" if is_former_member(me, group) else names
                unread = f", {group.unread_count} unread" if group.unread_count else ""
                print_line(" ".join(printable(f"{group.title}  ({names}{unread})  {group.conversation_id}").split("\n")))
        if not mine and not as_json:
            print_line("You are in no group. Make one with `parley groups create TITLE NAME…`", style="dim")

    run_command(run(), door)


@app.command()
def add(
    group: GroupArgument,
    members: Annotated[list[str], typer.Argument(metavar="NAME…", help="Whom.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Add people to a group (admins)."""

    async def change(me: Client, people: UserDirectory, found: Conversation) -> str:
        others = await people.find_user_ids(members)
        with naming_refused_user(others):
            await me.conversations.add_members(found.conversation_id, list(others))
        return f"{', '.join(members)} can read and write in “{printable(found.title)}” from now on."

    _change_group(change, group, name, door, as_json, options.tls_config(tls, ca))


@app.command()
def remove(
    group: GroupArgument,
    member: NameArgument,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Remove somebody from a group (admins)."""

    async def change(me: Client, people: UserDirectory, found: Conversation) -> str:
        user_id = await people.find_user_id(member)
        with naming_refused_user({user_id: member}):
            await me.conversations.remove_member(found.conversation_id, user_id)
        return f"{member} is not in “{printable(found.title)}” any more."

    _change_group(change, group, name, door, as_json, options.tls_config(tls, ca))


@app.command()
def leave(
    group: GroupArgument, name: AsOption = "", door: DoorOption = DOOR, as_json: JsonOption = False, tls: TlsOption = False, ca: CaOption = None
) -> None:
    """Leave a group. If you are its last admin, whoever has been there longest becomes one."""

    async def change(me: Client, _: UserDirectory, found: Conversation) -> str:
        await me.conversations.leave(found.conversation_id)
        return f"You have left “{printable(found.title)}”."

    _change_group(change, group, name, door, as_json, options.tls_config(tls, ca))


@app.command()
def rename(
    group: GroupArgument,
    title: Annotated[str, typer.Argument(help="1 to 128 characters.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Give a group another title (admins)."""

    async def change(me: Client, _: UserDirectory, found: Conversation) -> str:
        await me.conversations.rename(found.conversation_id, title)
        return f"“{printable(found.title)}” is called “{printable(title)}” now."

    _change_group(change, group, name, door, as_json, options.tls_config(tls, ca))


@app.command()
def role(
    group: GroupArgument,
    member: NameArgument,
    role: Annotated[GroupRole, typer.Argument(help="What they may do from now on.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Make somebody an admin of a group, or a plain member again (admins)."""

    async def change(me: Client, people: UserDirectory, found: Conversation) -> str:
        wanted = entry_pb2.ROLE_ADMIN if role is GroupRole.ADMIN else entry_pb2.ROLE_MEMBER
        user_id = await people.find_user_id(member)
        with naming_refused_user({user_id: member}):
            await me.conversations.set_role(found.conversation_id, user_id, wanted)
        return (
            f"{member} is {'an admin' if role is GroupRole.ADMIN else 'a plain member'} of “{printable(found.title)}” now."
        )

    _change_group(change, group, name, door, as_json, options.tls_config(tls, ca))


def _change_group(change: GroupChange, group: str, name: str, door: str, as_json: bool, tls: Tls | None) -> None:
    """Change a group; with --json its id is printed."""

    async def run() -> None:
        async with open_client(door, tls, name) as me:
            people = UserDirectory(me)
            conversation = await open_conversation(me, people, "", group)
            sentence = await change(me, people, conversation)
        if as_json:
            print_json({"conversation_id": conversation.conversation_id})
        else:
            print_line(sentence, style="green")

    run_command(run(), door)

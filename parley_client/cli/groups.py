"""The commands under `groups`: create, list, and change members, roles and titles."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated

import typer

from parley.chat.v1 import entry_pb2
from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli import options
from parley_client.cli.command import open_client, print_json, print_line, run_command
from parley_client.cli.directory import (
    UserDirectory,
    fetch_groups,
    is_former_member,
    name_user_in_errors,
    open_conversation,
)
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, JsonOption, TlsOption
from parley_client.cli.text import one_cell
from parley_client.client import Client
from parley_client.door import Tls


class GroupRole(StrEnum):
    """The role of a group member, as the command line names it."""

    ADMIN = "admin"
    MEMBER = "member"


GroupChange = Callable[[Client, UserDirectory, Conversation], Awaitable[str]]
"""A function that changes a group and returns a sentence about the result."""

GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="The group's title or id.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The member's login name.")]
app = typer.Typer(no_args_is_help=True, help="Create, list and change groups.")


@app.command()
def create(
    title: Annotated[str, typer.Argument(metavar="TITLE", help="1 to 128 characters.")],
    members: Annotated[list[str], typer.Argument(metavar="NAME", help="Login names of the other members, 1 to 99.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Create a group: `parley groups create TITLE bob carol`."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            names_by_id = await UserDirectory(client).find_user_ids(members)
            with name_user_in_errors(names_by_id):
                group = await client.conversations.create_group(title, list(names_by_id))
        if as_json:
            print_json(group)
        else:
            command = f"parley chat --group {shlex.quote(one_cell(title))}"
            print_line(
                f"“{one_cell(title)}” has {len(group.members)} members. Open it with `{command}`.", style="green"
            )

    run_command(run(), door)


@app.command("list")
def list_groups(
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """List your groups, including those you left: title, members and id."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            directory, joined = UserDirectory(client), await fetch_groups(client)
            for group in joined:
                if as_json:
                    print_json(group)
                    continue
                names = ", ".join([await directory.display_name(member.user_id) for member in group.members])
                names = "left" if is_former_member(client, group) else names
                unread = f", {group.unread_count} unread" if group.unread_count else ""
                print_line(f"{one_cell(group.title)}  ({one_cell(names)}{unread})  {group.conversation_id}")
        if not joined and not as_json:
            print_line("You are in no group. Create one with `parley groups create TITLE NAME…`.", style="dim")

    run_command(run(), door)


@app.command()
def add(
    group: GroupArgument,
    members: Annotated[list[str], typer.Argument(metavar="NAME", help="Login names of the new members.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Add users to a group (admins only)."""

    async def change(client: Client, directory: UserDirectory, group: Conversation) -> str:
        names_by_id = await directory.find_user_ids(members)
        with name_user_in_errors(names_by_id):
            await client.conversations.add_members(group.conversation_id, list(names_by_id))
        return f"{', '.join(members)} can read and write in “{one_cell(group.title)}” now."

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
    """Remove a member from a group (admins only)."""

    async def change(client: Client, directory: UserDirectory, group: Conversation) -> str:
        user_id = await directory.find_user_id(member)
        with name_user_in_errors({user_id: member}):
            await client.conversations.remove_member(group.conversation_id, user_id)
        return f"{member} is no longer in “{one_cell(group.title)}”."

    _change_group(change, group, name, door, as_json, options.tls_config(tls, ca))


@app.command()
def leave(
    group: GroupArgument,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Leave a group. If you are its last admin, the longest-standing member becomes admin."""

    async def change(client: Client, _: UserDirectory, group: Conversation) -> str:
        await client.conversations.leave(group.conversation_id)
        return f"You have left “{one_cell(group.title)}”."

    _change_group(change, group, name, door, as_json, options.tls_config(tls, ca))


@app.command()
def rename(
    group: GroupArgument,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="1 to 128 characters.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Change the title of a group (admins only)."""

    async def change(client: Client, _: UserDirectory, group: Conversation) -> str:
        await client.conversations.rename(group.conversation_id, title)
        return f"“{one_cell(group.title)}” is now “{one_cell(title)}”."

    _change_group(change, group, name, door, as_json, options.tls_config(tls, ca))


@app.command()
def role(
    group: GroupArgument,
    member: NameArgument,
    role: Annotated[GroupRole, typer.Argument(metavar="ROLE", help="The new role.")],
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Change the role of a group member (admins only)."""

    async def change(client: Client, directory: UserDirectory, group: Conversation) -> str:
        new_role = entry_pb2.ROLE_ADMIN if role is GroupRole.ADMIN else entry_pb2.ROLE_MEMBER
        user_id = await directory.find_user_id(member)
        with name_user_in_errors({user_id: member}):
            await client.conversations.set_role(group.conversation_id, user_id, new_role)
        role_name = "an admin" if role is GroupRole.ADMIN else "a plain member"
        return f"{member} is now {role_name} of “{one_cell(group.title)}”."

    _change_group(change, group, name, door, as_json, options.tls_config(tls, ca))


def _change_group(change: GroupChange, group: str, name: str, door: str, as_json: bool, tls: Tls | None) -> None:
    """Apply `change` to a group; print its sentence or, with --json, the group's id."""

    async def run() -> None:
        async with open_client(door, tls, name) as client:
            directory = UserDirectory(client)
            conversation = await open_conversation(client, directory, "", group)
            sentence = await change(client, directory, conversation)
        if as_json:
            print_json({"conversation_id": conversation.conversation_id})
        else:
            print_line(sentence, style="green")

    run_command(run(), door)

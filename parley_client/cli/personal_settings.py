"""The commands `mute` and `read`, which change a conversation for the user alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from parley.chat.v1.conversation_pb2 import Conversation
from parley_client.cli import options
from parley_client.cli.command import open_client, print_json, print_line, run_command
from parley_client.cli.directory import UserDirectory, find_conversation
from parley_client.cli.mute_times import ENDLESS_MUTE, parse_duration
from parley_client.cli.options import DOOR, AsOption, CaOption, DoorOption, GroupOption, JsonOption, TlsOption
from parley_client.cli.text import one_cell

app = typer.Typer()
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The other user's login name.", show_default=False)]


def _parse_duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


@app.command()
def mute(
    peer: NameArgument = "",
    group: GroupOption = "",
    duration: Annotated[
        timedelta | None,
        typer.Option(
            "--for",
            metavar="TIME",
            parser=_parse_duration,
            help="How long, such as 30m, 8h, 2d or 1w.",
            show_default="until you unmute it",
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Unmute it.")] = False,
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Mute the push notifications of a conversation: `parley mute bob --for 8h`, `parley mute --group TITLE`."""
    if off and duration is not None:
        raise typer.BadParameter("Use --for or --off, not both.")

    async def run() -> None:
        # The server keeps milliseconds.
        until = None if off else datetime.now(UTC).replace(microsecond=0) + (duration or ENDLESS_MUTE)
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            directory = UserDirectory(client)
            conversation = await find_conversation(client, directory, peer, group)
            await client.conversations.mute(conversation.conversation_id, until)
            title = one_cell(await directory.conversation_title(conversation))
        if as_json:
            end = until.isoformat() if until else None
            print_json({"conversation_id": conversation.conversation_id, "mute_until_time": end})
        else:
            print_line(_describe_mute(title, until, endless=duration is None), style="green")

    run_command(run(), door)


@app.command()
def read(
    peer: NameArgument = "",
    group: GroupOption = "",
    name: AsOption = "",
    door: DoorOption = DOOR,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Mark a conversation as read on all your devices: `parley read bob`, `parley read --group TITLE`."""

    async def run() -> None:
        async with open_client(door, options.tls_config(tls, ca), name) as client:
            directory = UserDirectory(client)
            conversation = await find_conversation(client, directory, peer, group)
            await client.messages.mark_read(conversation.conversation_id, conversation.head_seq)
            title = one_cell(await directory.conversation_title(conversation))
        if as_json:
            read_seq = str(max(conversation.head_seq, conversation.read_seq))
            print_json({"conversation_id": conversation.conversation_id, "read_seq": read_seq})
        else:
            print_line(_describe_read(title, conversation), style="green")

    run_command(run(), door)


def _describe_mute(title: str, until: datetime | None, *, endless: bool) -> str:
    if until is None:
        return f"“{title}” is not muted."
    if endless:
        return f"“{title}” is muted until you unmute it with --off."
    return f"“{title}” is muted until {until.astimezone():%Y-%m-%d %H:%M}."


def _describe_read(title: str, conversation: Conversation) -> str:
    count = conversation.unread_count
    if not count:
        return f"“{title}” had nothing unread."
    return f"{count} message{'s' if count > 1 else ''} of “{title}” {'are' if count > 1 else 'is'} marked as read."

"""The frame of every command: its client, its output and its exit code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console

from parley_client.cli import session_files
from parley_client.cli.errors import CommandError, explain_error
from parley_client.cli.text import escape_json, one_cell
from parley_client.client import Client
from parley_client.door import DEFAULT_DOOR, Tls
from parley_client.errors import ParleyError
from parley_client.messages import AppendResult
from parley_client.session import DamagedFile, SessionStore

# Calls are retried for this long before the command reports an error: a person is waiting.
RETRY_TIMEOUT_S = 3.0

# Text of users is printed verbatim: “:cat:” does not become an emoji, nor “[bold]” markup.
out = Console(highlight=False, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


@asynccontextmanager
async def open_client(
    door: str, tls: Tls | None, name: str = "", *, store: SessionStore | None = None
) -> AsyncIterator[Client]:
    """Yield a client for `store`, or for the signed-in account `name`; an empty `door` is that of the session.

    Raise CommandError if no account is selected, and instead of the ParleyError that the block raises.
    """
    store = store or session_files.select_session(name)
    try:
        client = Client(door or None, tls=tls, store=store, retry_timeout_s=RETRY_TIMEOUT_S)
    except DamagedFile:
        raise
    except ValueError as error:
        raise CommandError(f"{error}.") from None
    try:
        async with client:
            yield client
    except ParleyError as error:
        raise CommandError(explain_error(error, client.door.address)) from error


def run_command(main: Coroutine[Any, Any, None], door: str) -> None:
    """Run a command. Print an error as a sentence and exit with 1; exit with 130 on Ctrl-C, without output."""
    try:
        asyncio.run(main)
    except ParleyError as error:
        fail(explain_error(error, door or DEFAULT_DOOR))
    except CommandError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    except DamagedFile as error:
        fail(f"{error}.")
    except UnicodeError:
        fail("The text is not UTF-8. Parley accepts UTF-8 only.")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def fail(message: str) -> NoReturn:
    """Print an error message, which may quote others, to stderr as one line, and exit with 1."""
    err.print(one_cell(message), style="red", soft_wrap=True)
    raise typer.Exit(1)


def print_line(text: str, *, style: str = "") -> None:
    """Print a line of human-readable output."""
    out.print(text, style=style, soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as one line of JSON; proto messages keep their field names."""
    typer.echo(escape_json(json.dumps(_to_json_value(value), ensure_ascii=False)))


def appended_fields(sent: AppendResult | None) -> dict[str, str | None]:
    """Return the JSON fields of an appended entry, as in the proto Appended; None if nothing was appended."""
    return {"seq": str(sent.seq) if sent else None, "create_time": sent.time.isoformat() if sent else None}


def _to_json_value(value: object) -> object:
    if isinstance(value, Message):
        return MessageToDict(value, preserving_proto_field_name=True)
    if isinstance(value, list):
        return [_to_json_value(item) for item in value]
    return value

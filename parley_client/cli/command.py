"""How a command runs: its client, its output, and its end when something goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, NoReturn

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console

from parley_client.channel import Tls
from parley_client.cli import session_files
from parley_client.cli.errors import CommandError, explain_error
from parley_client.client import Client
from parley_client.errors import ParleyError
from parley_client.history import Sent
from parley_client.session import DamagedFile, SessionStore

# A person waits; whatever takes longer is told.
CALL_TIMEOUT_S = 3.0

# What users wrote is shown as they wrote it: “:cat:” is no picture and “[bold]” no markup.
out = Console(highlight=False, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)


def open_client(door: str, tls: Tls | None, name: str = "", *, store: SessionStore | None = None) -> Client:
    """A client for the account that is meant."""
    return Client(door, tls=tls, store=store or session_files.select_session(name), patience=CALL_TIMEOUT_S)


def run_command(main: Coroutine[Any, Any, None], door: str) -> None:
    """Run a command to its end. A refusal becomes a sentence and exit code 1, Ctrl-C a quiet 130."""
    try:
        asyncio.run(main)
    except ParleyError as error:
        fail(explain_error(error, door))
    except CommandError as sorry:
        fail(str(sorry))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    except DamagedFile as damaged:
        fail(f"{damaged}.")
    except UnicodeError:
        fail("Parley takes text in UTF-8 only, and this is not.")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def fail(sentence: str) -> NoReturn:
    """Say what is wrong, and end."""
    err.print(sentence, style="red", soft_wrap=True)
    raise typer.Exit(1)


def print_line(text: str, *, style: str = "") -> None:
    """A line for a person."""
    out.print(text, style=style, soft_wrap=True)


def print_json(value: object) -> None:
    """A value for a program: one line of JSON; messages by their proto names."""
    typer.echo(json.dumps(_to_json_value(value), ensure_ascii=False))


def appended_fields(sent: Sent | None) -> dict[str, str | None]:
    """Where something went, for a program: as Appended has it in the protos; None where nothing had to be appended."""
    return {"seq": str(sent.seq) if sent else None, "create_time": sent.time.isoformat() if sent else None}


def _to_json_value(value: object) -> object:
    if isinstance(value, Message):
        return MessageToDict(value, preserving_proto_field_name=True)
    if isinstance(value, list):
        return [_to_json_value(each) for each in value]
    return value

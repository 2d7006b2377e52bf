"""The options that commands share."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Annotated

import typer

from parley_client.channel import Tls
from parley_client.client import DEFAULT_DOOR

# The contract's numbers have 64 bits.
LAST_SEQ = 2**63 - 1

_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")


def _checked_door(door: str) -> str:
    found = _HOST_AND_PORT.fullmatch(door)
    if found is None or not 0 < int(found[1]) < 2**16:
        raise typer.BadParameter(f"“{door}” is not HOST:PORT, as {DEFAULT_DOOR} is.")
    return door


def _checked_roots(file: Path | None) -> Path | None:
    try:
        if file is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        raise typer.BadParameter(f"{file} holds no certificates in PEM.") from None
    return file


Door = Annotated[
    str,
    typer.Option(
        "--door",
        envvar="PARLEY_DOOR",
        metavar="HOST:PORT",
        callback=_checked_door,
        help="Where Parley takes calls.",
        show_default=True,
    ),
]
As = Annotated[
    str, typer.Option("--as", envvar="PARLEY_AS", metavar="NAME", help="Who you are, when several are signed in.")
]
Encrypted = Annotated[bool, typer.Option("--tls", envvar="PARLEY_TLS", help="Speak to the door over TLS.")]
Roots = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="PARLEY_CA",
        metavar="FILE",
        callback=_checked_roots,
        help="Trust these certificates (PEM); implies --tls.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="For programs: one JSON document a line, with the field names of protos/ (64-bit numbers as strings).",
    ),
]
Group = Annotated[str, typer.Option("--group", metavar="TITLE", help="A group of yours, by its TITLE or id.")]

DOOR = DEFAULT_DOOR


def tls(encrypted: bool, roots: Path | None) -> Tls | None:
    """What --tls and --ca mean together."""
    return Tls(roots.read_bytes() if roots else None) if encrypted or roots else None

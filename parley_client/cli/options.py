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
MAX_SEQ = 2**63 - 1

_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")


def _validate_door(door: str) -> str:
    found = _HOST_AND_PORT.fullmatch(door)
    if found is None or not 0 < int(found[1]) < 2**16:
        raise typer.BadParameter(f"“{door}” is not HOST:PORT, as {DEFAULT_DOOR} is.")
    return door


def _validate_certificates(file: Path | None) -> Path | None:
    try:
        if file is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        raise typer.BadParameter(f"{file} holds no certificates in PEM.") from None
    return file


DoorOption = Annotated[
    str,
    typer.Option(
        "--door",
        envvar="PARLEY_DOOR",
        metavar="HOST:PORT",
        callback=_validate_door,
        help="Where Parley takes calls.",
        show_default=True,
    ),
]
AsOption = Annotated[
    str, typer.Option("--as", envvar="PARLEY_AS", metavar="NAME", help="Who you are, when several are signed in.")
]
TlsOption = Annotated[bool, typer.Option("--tls", envvar="PARLEY_TLS", help="Speak to the door over TLS.")]
CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        envvar="PARLEY_CA",
        metavar="FILE",
        callback=_validate_certificates,
        help="Trust these certificates (PEM); implies --tls.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="For programs: one JSON document a line, with the field names of protos/ (64-bit numbers as strings).",
    ),
]
GroupOption = Annotated[str, typer.Option("--group", metavar="TITLE", help="A group of yours, by its TITLE or id.")]

DOOR = DEFAULT_DOOR


def tls_config(enabled: bool, ca_file: Path | None) -> Tls | None:
    """What --tls and --ca mean together."""
    return Tls(ca_file.read_bytes() if ca_file else None) if enabled or ca_file else None

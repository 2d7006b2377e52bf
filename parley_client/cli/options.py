"""The options that several commands share."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand

from parley_client.door import DEFAULT_DOOR, RequestedDoor, Tls

# Sequence numbers are signed 64-bit integers in the protos.
MAX_SEQ = 2**63 - 1


class WordsCommand(TyperCommand):
    """A command with one argument, a list of words, whose metavar names each of them: the usage line quotes it."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        words = (each.metavar or "" for each in self.params if isinstance(each, TyperArgument))
        options_only = super().collect_usage_pieces(ctx)[:1]
        return [*options_only, *words]


def _validate_door(door: str) -> str:
    try:
        if door:
            RequestedDoor.parse(door)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None
    return door


def _validate_certificates(file: Path | None) -> Path | None:
    try:
        if file is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        raise typer.BadParameter(f"{file} contains no PEM certificates.") from None
    return file


DoorOption = Annotated[
    str,
    typer.Option(
        "--door",
        envvar="PARLEY_DOOR",
        metavar="HOST:PORT",
        callback=_validate_door,
        help="The address of Parley, or its https:// URL.",
        show_default=f"the one signed in to, or {DEFAULT_DOOR}",
    ),
]
AsOption = Annotated[
    str, typer.Option("--as", envvar="PARLEY_AS", metavar="NAME", help="The account to use, if several are signed in.")
]
TlsOption = Annotated[bool, typer.Option("--tls", envvar="PARLEY_TLS", help="Connect over TLS.")]
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
        help="Print one JSON document a line, with the field names of protos/ (64-bit numbers as strings).",
    ),
]
GroupOption = Annotated[str, typer.Option("--group", metavar="TITLE", help="One of your groups, by its TITLE or id.")]

# The door of the session, or the default one.
DOOR = ""


def tls_config(enabled: bool, ca_file: Path | None) -> Tls | None:
    """Return the TLS configuration of --tls and --ca; None without either: the connection is not encrypted."""
    return Tls(ca_file.read_bytes() if ca_file else None) if enabled or ca_file else None

"""The options and arguments of the commands for operators."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

# Of a stack that `make run` started, in the folder in which it was started.
DEFAULT_ETCD: Final = "127.0.0.1:5283"
DEFAULT_CREDENTIAL: Final = Path(".parley/secrets/service-credential")

_DURATION: Final = re.compile(r"([1-9]\d{0,4})([smh])", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_MAX_DURATION_S: Final = 24 * 3600
_LOGIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,63}")
_ID: Final = re.compile(r"[0-9a-f]{32}")
_ADDRESS: Final = re.compile(r"\S+:\d{1,5}")


@dataclass(frozen=True, slots=True)
class Deployment:
    """The place where the servers of a deployment are found, and the file with the credential of its services.

    With an `address`, the internal one of a chat server, that server lists the others, and etcd is not asked.
    """

    etcd: tuple[str, ...]
    address: str
    credential: Path


def parse_duration(text: str) -> int:
    """Return the seconds of a duration such as 90s, 10m or 2h, at most 24 h. Raise BadParameter if it is none."""
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= _MAX_DURATION_S:
        raise typer.BadParameter(f"{text!r} is not a time such as 90s, 10m or 2h, 24h at most.")
    return seconds


def is_id(text: str) -> bool:
    """Return True if `text` is the id of a user or a conversation."""
    return _ID.fullmatch(text) is not None


def _check_address(text: str) -> str:
    if "," in text:
        raise typer.BadParameter(f"{text!r} has several addresses; name one server, which then lists the others.")
    return _check_addresses(text)


def _check_addresses(text: str) -> str:
    for address in filter(None, text.split(",")):
        if not _ADDRESS.fullmatch(address.strip()):
            raise typer.BadParameter(f"{address!r} is not an address of the form HOST:PORT.")
    return text


def _check_user(text: str) -> str:
    if text and not _LOGIN_NAME.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is neither a login name nor the id of a user, 32 lower-case hex digits.")
    return text


def _check_conversation(text: str) -> str:
    if text and not is_id(text):
        raise typer.BadParameter(f"{text!r} is not the id of a conversation, 32 lower-case hex digits.")
    return text


EtcdOption = Annotated[
    str,
    typer.Option(
        "--etcd",
        envvar="PARLEY_ETCD_ENDPOINTS",
        metavar="HOST:PORT,…",
        callback=_check_addresses,
        help="The addresses of etcd, where the servers are registered.",
    ),
]
AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="PARLEY_ADMIN_ADDRESS",
        metavar="HOST:PORT",
        callback=_check_address,
        help="The internal address of a chat server, which then lists the others; etcd is not asked.",
    ),
]
CredentialOption = Annotated[
    Path,
    typer.Option(
        "--credential",
        envvar="PARLEY_SERVICE_CREDENTIAL_FILE",
        metavar="FILE",
        help="The file with the credential of the services.",
    ),
]
ServerArgument = Annotated[
    str,
    typer.Argument(
        metavar="SERVER", help="The id of a server, as `parley admin servers` lists it; SERVICE/ID if two share it."
    ),
]
UserArgument = Annotated[
    str, typer.Argument(metavar="USER", callback=_check_user, help="The login name of a user, or the id.")
]
UserOption = Annotated[
    str, typer.Option("--user", metavar="USER", callback=_check_user, help="Name the home of this user.")
]
ConversationOption = Annotated[
    str,
    typer.Option(
        "--conversation", metavar="ID", callback=_check_conversation, help="Name the owner of a conversation."
    ),
]


def deployment_of(
    etcd: EtcdOption = DEFAULT_ETCD, address: AddressOption = "", credential: CredentialOption = DEFAULT_CREDENTIAL
) -> Deployment:
    """Return the deployment that the options name."""
    endpoints = tuple(each.strip() for each in etcd.split(",") if each.strip())
    return Deployment(endpoints or (DEFAULT_ETCD,), address.strip(), credential)

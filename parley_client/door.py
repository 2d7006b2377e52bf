"""The door: the address of the gateway, and the TLS settings with which it is reached."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

DEFAULT_DOOR = "127.0.0.1:8080"

_DOOR = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>\[[0-9a-f:.]+\]|[^\s:/?#@\[\]]+)(?::(?P<port>[0-9]{1,5}))?/?", re.IGNORECASE
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS settings of the channel. `root_certificates` is PEM; None: the system's authorities (`trust.py`)."""

    root_certificates: bytes | None = field(default=None, repr=False)
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """The address of a gateway ("host:port"), and how it is reached. `tls` None: the connection is not encrypted."""

    address: str = DEFAULT_DOOR
    tls: Tls | None = None

    def __str__(self) -> str:
        return f"{self.address} over TLS" if self.tls else self.address


@dataclass(frozen=True, slots=True)
class RequestedDoor:
    """A door as an application names it. `encrypted` None: the text does not say."""

    address: str
    encrypted: bool | None = None

    @classmethod
    def parse(cls, text: str) -> RequestedDoor:
        """Parse "host:port", "http://host[:port]" or "https://host[:port]". Raises ValueError."""
        match = _DOOR.fullmatch(text)
        scheme = (match["scheme"] or "").lower() if match else ""
        port = int(match["port"] or _DEFAULT_PORTS.get(scheme, 0)) if match else 0
        if match is None or not 0 < port < 2**16 or (text.endswith("/") and not scheme):
            raise ValueError(f"“{text}” is not HOST:PORT, for example {DEFAULT_DOOR}, nor https://HOST")
        return cls(f"{match['host'].lower()}:{port}", encrypted=scheme == "https" if scheme else None)


def resolve_door(requested: str | None, tls: Tls | None, bound: Door | None) -> Door:
    """Return the door that a client uses. Raises ValueError if `requested` is no address, or contradicts `tls`.

    `bound` is the door of the stored session: the default, and the source of the TLS settings that are not given.
    """
    if requested is None:
        return Door(bound.address, tls or bound.tls) if bound else Door(tls=tls)
    door = RequestedDoor.parse(requested)
    if door.encrypted is False:
        if tls is not None:
            raise ValueError(f"“{requested}” means a connection without TLS: write https:// or leave out the scheme")
        return Door(door.address)
    if tls is None and bound is not None and bound.address == door.address:
        tls = bound.tls
    return Door(door.address, tls or (Tls() if door.encrypted else None))

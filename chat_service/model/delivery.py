"""What is on its way to devices; bytes already in the form of the wire."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeliveredEntry:
    """A serialised entry without its request id, which only the devices of its actor are told (16 bytes)."""

    entry: bytes
    actor_id: str
    request_id: bytes


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """A user came online, or went."""

    user_id: str
    online: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """Entries of one conversation, in order of seq; serialised watermarks, typing, presence; and what caused it all."""

    entries: tuple[DeliveredEntry, ...] = ()
    watermarks: tuple[bytes, ...] = ()
    typing: bytes = b""
    presence: PresenceChange | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class AttachedSession:
    """A device's session, and the server that is its edge."""

    session_id: str
    user_id: str
    device_id: str
    edge: str

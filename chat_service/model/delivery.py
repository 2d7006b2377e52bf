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
class Delivery:
    """Entries of one conversation, in order of seq; serialised watermarks and typing; and what caused it all."""

    entries: tuple[DeliveredEntry, ...] = ()
    watermarks: tuple[bytes, ...] = ()
    typing: bytes = b""
    traceparent: str = ""

"""Deliveries to devices, with payloads that are serialized already, and the sessions that receive them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeliveredEntry:
    """A serialized entry without its request id (16 bytes), which only the devices of its actor receive."""

    entry: bytes
    actor_id: str
    request_id: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """Events for the devices of users: entries of one conversation in order of seq, watermarks and typing.

    `traceparent` is the W3C trace context of the cause, empty if there is none.
    """

    entries: tuple[DeliveredEntry, ...] = ()
    watermarks: tuple[bytes, ...] = ()
    typing: bytes = b""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class AttachedSession:
    """A session of a device, and the server id of its edge."""

    session_id: str
    user_id: str
    device_id: str
    edge: str

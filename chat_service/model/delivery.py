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

    `traceparents` are the W3C trace contexts of the entries, in their order, an empty one for an entry that is not
    traced; none if no entry is. A delivery that is `push_only` is not sent to devices: its entries are offered for
    pushes, because the first offer may be lost.
    """

    entries: tuple[DeliveredEntry, ...] = ()
    watermarks: tuple[bytes, ...] = ()
    typing: bytes = b""
    traceparents: tuple[str, ...] = ()
    push_only: bool = False


@dataclass(frozen=True, slots=True)
class UnpushedEntry:
    """An entry that was not queued for pushes to a user, and the time of its delivery (Unix ms)."""

    conversation_id: str
    seq: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class Foreground:
    """The devices of a user in the foreground, and the last entry that was not queued for pushes because of one."""

    device_ids: tuple[str, ...] = ()
    last_entry: UnpushedEntry | None = None


@dataclass(frozen=True, slots=True)
class AttachedSession:
    """A session of a device, and the server id of its edge.

    It is in the `foreground` while the device says so and is heard, and `silent` while it is not heard. `stream_number`
    counts the streams of the program `instance_id`, which is empty if the program does not name itself.
    """

    session_id: str
    user_id: str
    device_id: str
    edge: str
    foreground: bool = True
    silent: bool = False
    instance_id: str = ""
    stream_number: int = 0

    def is_newer_than(self, other: AttachedSession, *, by_time: bool) -> bool:
        """Return True if this session of the same device was opened after `other`.

        Streams of one program are ordered by their numbers. Others are ordered by the times in their ids if `by_time`,
        and otherwise unordered.
        """
        numbered = self.stream_number and other.stream_number
        if numbered and self.instance_id and self.instance_id == other.instance_id:
            return self.stream_number > other.stream_number
        return by_time and self.session_id > other.session_id

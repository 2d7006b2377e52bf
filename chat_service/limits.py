"""What chat takes, with the defaults of the contract; settings of a deployment, told to devices in `welcome`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one device, one frame, one conversation."""

    text_bytes: int = 16 * 1024
    custom_payload_bytes: int = 64 * 1024
    frame_bytes: int = 256 * 1024
    group_members: int = 100
    sends_per_second: int = 20
    sends_burst: int = 60
    entries_per_second: int = 50
    entries_burst: int = 100
    fetch_ranges: int = 100
    range_entries: int = 500
    heartbeat_seconds: int = 4
    # What may wait for a device that does not read, in bytes; more is left for it to fetch.
    outbox_bytes: int = 1024 * 1024
    # A device for which more than that waits, and that reads nothing for so long, is cut off.
    outbox_patience_seconds: float = 30.0
    # Frames of any kind; what comes faster is read later, which is felt by that device alone.
    frames_per_send: int = 5
    # Devices that may be connecting to a server at once.
    handshakes: int = 100
    # Streams of a device that a server may have at once: the newest, and those it supersedes.
    device_streams: int = 16
    # Fetches of a stream that may wait.
    fetches_waiting: int = 32
    # Sends of a stream to one conversation that may be unanswered; and their bytes to all, a burst of the largest.
    lane_sends: int = 256
    unanswered_bytes: int = 4 * 1024 * 1024

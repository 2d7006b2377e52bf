"""The limits of a chat server, with the defaults of the protos; `welcome` states them to devices."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a frame, a device, a stream and a conversation."""

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
    background_heartbeat_seconds: int = 60
    # Bytes that may wait in the outbox of a stream; entries beyond them are not sent, and the device fetches them.
    outbox_bytes: int = 1024 * 1024
    # Seconds after which a stream with a full outbox whose device reads nothing is closed.
    outbox_patience_seconds: float = 30.0
    # Frames of any kind per allowed send; faster frames are read later, which delays only this device.
    frames_per_send: int = 5
    # Streams in handshake on a server at once.
    handshakes: int = 100
    # Streams of one device on a server at once: the newest, and those that it supersedes.
    device_streams: int = 16
    # Fetches of a stream that may be queued.
    fetches_waiting: int = 32
    # Unanswered sends of a stream to one conversation.
    lane_sends: int = 256
    # Bytes of the unanswered sends of a stream to all conversations; enough for a burst of the largest.
    unanswered_bytes: int = 4 * 1024 * 1024
    # Files: the most bytes of one that is uploaded in one call, and of one that is uploaded in parts; the media types
    # that may be uploaded, empty: any. The media service enforces them.
    media_upload_bytes: int = 10 * 1024 * 1024
    media_file_bytes: int = 2 * 1024 * 1024 * 1024
    media_types: tuple[str, ...] = ()
    # True: a reaction may be any text; False: only an emoji.
    text_reactions: bool = False

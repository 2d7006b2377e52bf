"""Files: what their uploader says of them, their states, and the facts that the server finds in their bytes.

                 create                complete              verdict: clean
    (nothing) ───────────▶ UPLOADING ───────────▶ SCANNING ───────────────▶ READY
                              │  └──────── without a scanner ────────────────▲ │
                              │ abort, expiry,      │ verdict: harmful         │ nothing refers to it
                              │ wrong size or       ▼                          │
                              │ digest           REJECTED                      │
                              ▼                     │ 24 h                     ▼
                           REMOVED ◀────────────────┴──────────────────────────┘ ───▶ (nothing)

The servers that serve the calls of the uploader move a file to SCANNING or READY; the scan job of any server moves it
from SCANNING; the collector of any server moves it to REMOVED, and deletes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from servicekit.failure import Failure

# The part size of uploads in parts, in bytes. S3 wants at least 5 MiB.
PART_BYTES: Final = 8 * 1024 * 1024
OPAQUE: Final = "application/octet-stream"
"""The media type of files of unknown contents, and of those that are encrypted and must not be changed."""


class MediaState(IntEnum):
    """The state of a file; the values but REMOVED are those of the protos."""

    UPLOADING = 1
    READY = 2
    SCANNING = 3
    REJECTED = 4
    # Invisible; its objects are being deleted.
    REMOVED = 5


class MediaKind(IntEnum):
    """The kind of a file; the values are those of the protos."""

    IMAGE = 1
    VIDEO = 2
    AUDIO = 3
    FILE = 4


class Variant(IntEnum):
    """A form in which a file can be downloaded; the values are those of the protos."""

    ORIGINAL = 1
    THUMBNAIL = 2
    PREVIEW = 3


@dataclass(frozen=True, slots=True)
class FileDescription:
    """The description of a file by its uploader, before the upload.

    `sha256` has 32 bytes, or none if the uploader announces no digest. `waveform` has at most 64 bytes.
    """

    file_name: str
    content_type: str
    size_bytes: int
    sha256: bytes = b""
    waveform: bytes = b""

    @property
    def opaque(self) -> bool:
        """True if the file must be stored unchanged and unread, because its uploader declares that it is encrypted."""
        return self.content_type.lower() == OPAQUE


@dataclass(frozen=True, slots=True)
class StoredVariant:
    """A smaller picture of a file: its media type, its size in bytes, and its dimensions in pixels."""

    content_type: str
    size_bytes: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """The facts of a complete file, found in its bytes.

    `size_bytes` and `sha256` are those of the stored original; `rewritten` says that it differs from the sent bytes and
    has an object of its own. `variants` are the smaller pictures. Unknown values are 0 or empty.
    """

    kind: MediaKind
    content_type: str
    size_bytes: int
    sha256: bytes
    rewritten: bool = False
    width: int = 0
    height: int = 0
    duration_ms: int = 0
    thumbhash: bytes = b""
    variants: Mapping[Variant, StoredVariant] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MediaFile:
    """The record of a file.

    `base_id` is the file whose objects hold the bytes: the file itself, or an identical one of the same owner.
    `upload_id` is the id of the upload in parts in the store; empty for a streamed upload, and until it is known.
    `expire_ms` is the time at which the file is removed unless something refers to it; 0 once it was claimed.
    `remove_ms` is the time at which it was moved to REMOVED, and `failure` says why it could not be completed.
    `attempts` is the number of leases that calls had to complete it, 1 again once their late objects were deleted.
    """

    media_id: str
    owner_id: str
    request_id: bytes
    state: MediaState
    description: FileDescription
    create_ms: int
    expire_ms: int
    base_id: str
    in_parts: bool
    upload_id: str = ""
    claimed_until_ms: int = 0
    remove_ms: int = 0
    attempts: int = 0
    facts: MediaFacts | None = None
    failure: Failure | None = None

    @property
    def known_facts(self) -> MediaFacts:
        """Return the facts of a complete file. Raise ValueError for an unfinished one."""
        if self.facts is None:
            raise ValueError(f"file {self.media_id} is not complete")
        return self.facts

    @property
    def part_count(self) -> int:
        """Return the number of parts of the upload."""
        return -(-self.description.size_bytes // PART_BYTES)

    def part_bytes(self, number: int) -> int:
        """Return the size of a part in bytes; `number` counts from 1."""
        return min(PART_BYTES, self.description.size_bytes - (number - 1) * PART_BYTES)


def sent_key(media_id: str) -> str:
    """Return the key of the object with the bytes as they were sent."""
    return f"{media_id}/sent"


def variant_key(file: MediaFile, variant: Variant) -> str:
    """Return the key of the object of a variant of a complete file."""
    if variant is Variant.ORIGINAL and not (file.facts and file.facts.rewritten):
        return sent_key(file.base_id)
    return f"{file.base_id}/{variant.name.lower()}"


def object_keys(media_id: str) -> list[str]:
    """Return the keys of all objects that a file may have."""
    return [sent_key(media_id), *(f"{media_id}/{variant.name.lower()}" for variant in Variant)]


def needed_keys(file: MediaFile) -> list[str]:
    """Return the keys of the objects that a complete file uses, which may be those of its base."""
    return [variant_key(file, variant) for variant in (Variant.ORIGINAL, *file.known_facts.variants)]


def unneeded_keys(file: MediaFile) -> list[str]:
    """Return the keys of the objects that a complete file may have under its own id and does not use."""
    needed = needed_keys(file)
    return [key for key in object_keys(file.media_id) if key not in needed]

"""The record of files: acknowledged uploads, the messages that refer to them, and what downloads returned."""

from __future__ import annotations

from dataclasses import dataclass, field

from parley.media.v1 import media_pb2
from tests.faults.files.contents import Contents


@dataclass(slots=True, eq=False)
class Reference:
    """A message of `sender` that was acknowledged at `seq`, and whether its deletion for all has begun."""

    conversation: str
    seq: int
    media_id: str
    sender: str
    deleting: bool = False


@dataclass(slots=True, eq=False)
class StoredFile:
    """A file whose upload was acknowledged: what it must hold, and until when it stays without a reference.

    `expires_at` is in seconds since 1970.
    """

    media_id: str
    uploader: str
    sha256: bytes
    size_bytes: int
    expires_at: float
    references: list[Reference] = field(default_factory=list)

    @property
    def standing(self) -> bool:
        """Return true if an acknowledged message refers to the file and nobody deletes it."""
        return any(not each.deleting for each in self.references)

    def __str__(self) -> str:
        return f"file {self.media_id} of {self.uploader}, {self.size_bytes} bytes, {len(self.references)} references"


@dataclass(slots=True)
class FileJournal:
    """The actions of uploaders and the answers to them, in order.

    `violations` are answers that no fault excuses; `abandoned` counts uploads that were given up.
    """

    files: dict[str, StoredFile] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    downloads: int = 0
    abandoned: int = 0
    expired: int = 0

    def acknowledge(self, uploader: str, media: media_pb2.Media, contents: Contents) -> StoredFile:
        """Record an acknowledged upload, and what its answer says that contradicts the bytes that were sent."""
        file = StoredFile(
            media.media_id,
            uploader,
            contents.stored_sha256,
            len(contents.stored),
            media.expire_time.ToMilliseconds() / 1000,
        )
        if media.size_bytes != file.size_bytes or media.sha256 not in (b"", file.sha256):
            self.violations.append(
                f"{file}: acknowledged with {media.size_bytes} bytes and the digest {media.sha256.hex()}, "
                f"not with {file.sha256.hex()}"
            )
        self.files[file.media_id] = file
        return file

    @property
    def references(self) -> list[Reference]:
        """Return the acknowledged messages with files."""
        return [reference for file in self.files.values() for reference in file.references]

    def standing(self) -> list[StoredFile]:
        """Return the files that may be forwarded and downloaded."""
        return [file for file in self.files.values() if file.standing]

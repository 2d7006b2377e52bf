"""Records of unfinished uploads, so that the same file is continued and not sent again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from parley_client.atomic_file import write_atomically
from parley_client.media.source_file import SourceFile

# The server aborts an upload after 24 h; one that old is not continued.
MAX_AGE_S = 23 * 3600.0


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """An unfinished upload in parts. `key` identifies user, file and announcement; `begin_time` is in Unix seconds."""

    key: str
    request_id: str
    media_id: str
    begin_time: float


class UploadRecords(Protocol):
    """A store of records. Its methods are called from threads."""

    def find(self, key: str) -> UploadRecord | None:
        """Return the record with this key that is not too old."""

    def save(self, record: UploadRecord) -> None:
        """Store a record in place of one with the same key."""

    def remove(self, key: str) -> None:
        """Remove a record, if there is one."""


class MemoryUploadRecords:
    """UploadRecords in memory: an upload is continued by the same client only."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._records: dict[str, UploadRecord] = {}

    def find(self, key: str) -> UploadRecord | None:
        """Return the record with this key."""
        record = self._records.get(key)
        return record if record and self._clock() - record.begin_time < MAX_AGE_S else None

    def save(self, record: UploadRecord) -> None:
        """Store a record."""
        self._records[record.key] = record

    def remove(self, key: str) -> None:
        """Remove a record."""
        self._records.pop(key, None)


class FileUploadRecords:
    """UploadRecords in a JSON file (mode 0600): an upload is continued by another process too.

    A file that cannot be read counts as empty, because a record only saves time.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    def find(self, key: str) -> UploadRecord | None:
        """Return the record with this key."""
        return self._load().get(key)

    def save(self, record: UploadRecord) -> None:
        """Write the file with this record."""
        self._write({**self._load(), record.key: record})

    def remove(self, key: str) -> None:
        """Write the file without this record, or remove it if it was the last one."""
        records = self._load()
        if records.pop(key, None) is not None:
            self._write(records)

    def _load(self) -> dict[str, UploadRecord]:
        try:
            records = [_from_json(each) for each in json.loads(self._path.read_text())]
        except (OSError, ValueError, TypeError):
            return {}
        oldest = self._clock() - MAX_AGE_S
        return {record.key: record for record in records if record.begin_time > oldest}

    def _write(self, records: dict[str, UploadRecord]) -> None:
        if records:
            write_atomically(self._path, [asdict(each) for each in records.values()])
        else:
            self._path.unlink(missing_ok=True)


def record_key(user_id: str, file: SourceFile, announcement: bytes) -> str:
    """Return the key of an upload: the user, the file as it is now, and everything that was announced about it."""
    parts = (user_id, os.fspath(file.path), str(file.size_bytes), str(file.mtime_ns), announcement.hex())
    return "\n".join(parts)


def _from_json(stored: Any) -> UploadRecord:
    record = UploadRecord(**stored)
    texts = (record.key, record.request_id, record.media_id)
    if not all(isinstance(text, str) for text in texts) or not isinstance(record.begin_time, int | float):
        raise TypeError("a record has the wrong type")
    return record

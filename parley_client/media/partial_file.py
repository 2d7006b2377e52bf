"""A file that is being downloaded: its bytes and its finished ranges, which a later attempt continues."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from parley_client.atomic_file import ADDED_NAME_BYTES, write_atomically
from parley_client.errors import FileDamaged, InvalidRequest
from parley_client.media.file_names import MAX_NAME_BYTES, numbered_paths

# The unit in which a download continues, below the bound of one `Download` call.
RANGE_BYTES = 4 << 20
BYTES_SUFFIX, RECORD_SUFFIX = ".part", ".part.json"
# The bound of the name of a target, which leaves room for the record and for the temporary file that replaces it.
MAX_TARGET_NAME_BYTES = MAX_NAME_BYTES - len(RECORD_SUFFIX) - ADDED_NAME_BYTES
_HASH_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """The file that a download yields. `sha256` is in hex; empty: unknown, so that it is not verified."""

    media_id: str
    variant: int
    size_bytes: int
    sha256: str

    @property
    def range_count(self) -> int:
        """The number of ranges of RANGE_BYTES bytes, of which the last may be shorter."""
        return -(-self.size_bytes // RANGE_BYTES)

    def range_at(self, index: int) -> tuple[int, int]:
        """Return the offset and the length of a range, in bytes."""
        offset = index * RANGE_BYTES
        return offset, min(RANGE_BYTES, self.size_bytes - offset)


class PartialFile:
    """The download of `expected` to `target`: the bytes in "<target>.part", the ranges in "<target>.part.json".

    The methods block: call them in threads. One process at a time has the file open.
    """

    def __init__(self, target: Path, expected: ExpectedFile, descriptor: int, finished: set[int]) -> None:
        self.target = target
        self.expected = expected
        self._descriptor = descriptor
        self._finished = finished
        # A thread may outlive the task that waits for it.
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def open(cls, target: Path, expected: ExpectedFile, *, discard_other: bool) -> PartialFile | None:
        """Open the partial file of a target, existing or not. Raises OSError.

        Return None if another program has it open, or if it belongs to the download of another file, unless that one is
        to be discarded.
        """
        descriptor = _open_locked(_bytes_path(target))
        if descriptor is None:
            return None
        finished = _finished_ranges(target, expected)
        if finished is None and os.fstat(descriptor).st_size and not discard_other:
            os.close(descriptor)
            return None
        os.ftruncate(descriptor, expected.size_bytes)
        partial = cls(target, expected, descriptor, finished or set())
        partial._save_record()
        return partial

    @property
    def finished_ranges(self) -> frozenset[int]:
        """The indexes of the ranges that are complete."""
        return frozenset(self._finished)

    def write(self, offset: int, block: bytes) -> None:
        """Write bytes at an offset; do nothing if the file was closed, as by a cancellation."""
        with self._lock:
            while block and not self._closed:
                written = os.pwrite(self._descriptor, block, offset)
                offset, block = offset + written, block[written:]

    def finish_range(self, index: int) -> None:
        """Record that a range is complete."""
        with self._lock:
            if not self._closed:
                self._finished.add(index)
                self._save_record()

    def verify(self, cancelled: threading.Event) -> None:
        """Check the SHA-256 if it is known. Raises FileDamaged, and removes the partial file."""
        if not self.expected.sha256:
            return
        digest, offset = hashlib.sha256(), 0
        while (block := os.pread(self._descriptor, _HASH_BLOCK_BYTES, offset)) and not cancelled.is_set():
            digest.update(block)
            offset += len(block)
        if not cancelled.is_set() and digest.hexdigest() != self.expected.sha256:
            self.remove()
            raise FileDamaged(str(self.target))

    def publish(self, *, overwrite: bool) -> Path:
        """Give the complete file its name, or the next free one like "name (1).ext"; return its path."""
        os.fsync(self._descriptor)
        source = _bytes_path(self.target)
        published = self.target
        if overwrite:
            source.replace(self.target)
        else:
            published = _link_to_free_name(source, self.target)
        _record_path(self.target).unlink(missing_ok=True)
        return published

    def remove(self) -> None:
        """Remove the bytes and the record."""
        _bytes_path(self.target).unlink(missing_ok=True)
        _record_path(self.target).unlink(missing_ok=True)

    def close(self) -> None:
        """Release the file; what is not published can be continued."""
        with self._lock:
            self._closed = True
            os.close(self._descriptor)

    def _save_record(self) -> None:
        record = {**asdict(self.expected), "range_bytes": RANGE_BYTES, "finished": sorted(self._finished)}
        # After a crash of the machine the record may be older than the bytes. The digest is verified at the end.
        write_atomically(_record_path(self.target), record, durable=False)


def _open_locked(path: Path) -> int | None:
    """Return the descriptor of the locked file, created if necessary; None if another program has it open."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        # Another program has just published the file under its final name.
        os.close(descriptor)


def open_partial(path: Path, expected: ExpectedFile, *, overwrite: bool) -> PartialFile | None:
    """Open the partial file for `path` or, unless it is overwritten, for the first free name like it.

    Return None if all are taken. Raises OSError, and InvalidRequest if `path` is a device, a pipe or a folder.
    """
    if path.exists() and not path.is_file():
        raise InvalidRequest(f"{path} is not a file, so that nothing can be saved to it", code="INVALID_ARGUMENT")
    for target in [path] if overwrite else numbered_paths(path, MAX_TARGET_NAME_BYTES):
        if not overwrite and os.path.lexists(target):
            continue
        partial = PartialFile.open(target, expected, discard_other=overwrite)
        if partial is not None:
            return partial
    return None


def _link_to_free_name(source: Path, target: Path) -> Path:
    for free in numbered_paths(target):
        try:
            os.link(source, free)
        except FileExistsError:
            continue
        except OSError:
            # A file system without hard links: another program may win the race for the name.
            if os.path.lexists(free):
                continue
            source.rename(free)
            return free
        source.unlink()
        return free
    raise FileExistsError(f"{target} and its numbered names exist")


def _finished_ranges(target: Path, expected: ExpectedFile) -> set[int] | None:
    """Return the finished ranges of the record; None if there is no record of this download."""
    try:
        record: Any = json.loads(_record_path(target).read_text())
        finished = set(record.pop("finished"))
        matches = record == {**asdict(expected), "range_bytes": RANGE_BYTES}
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return None
    return finished & set(range(expected.range_count)) if matches else None


def _bytes_path(target: Path) -> Path:
    return target.with_name(target.name + BYTES_SUFFIX)


def _record_path(target: Path) -> Path:
    return target.with_name(target.name + RECORD_SUFFIX)

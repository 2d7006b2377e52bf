"""The times of the background work on files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CollectionTimes:
    """Times in seconds.

    `recheck_s` is the time between two checks of a referenced file, `pause_s` that between two queries for due files
    while none is due, and `scan_retry_s` that between two attempts to scan a file. A rejected file is removed after
    `rejected_s`, one to which nothing refers after `unreferenced_s`. A batch is due again after `timeout_s` if its
    server died. The record of a removed file stays for `tombstone_s`: retries get its failure, and late objects are
    deleted. A file whose objects another one may be about to use is due again after `adoption_s`.
    """

    recheck_s: float
    pause_s: float
    timeout_s: float
    tombstone_s: float
    adoption_s: float
    rejected_s: float
    unreferenced_s: float
    scan_retry_s: float


def to_ms(seconds: float) -> int:
    """Return a time in whole milliseconds."""
    return round(seconds * 1000)

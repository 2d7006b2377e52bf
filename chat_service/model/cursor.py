"""A place in a user's index of changes, and what a reading of the index says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


@dataclass(frozen=True, slots=True)
class Cursor:
    """`time_ms` is by the index's own clock, and means something in this generation only."""

    generation: int
    time_ms: int


class Resync(IntEnum):
    """Why all conversations are named; numbers as in the contract."""

    NONE = 0
    NO_CURSOR = 1
    OTHER_GENERATION = 2
    CURSOR_FROM_FUTURE = 3
    INDEX_UNAVAILABLE = 4


@dataclass(frozen=True, slots=True)
class IndexReading:
    """The conversations that changed, unless a resync is needed; and the cursor to go on from."""

    resync: Resync
    conversation_ids: tuple[str, ...]
    cursor: Cursor | None

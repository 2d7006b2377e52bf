"""Cursors of the change index, and the results of reading it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a user's change index: `time_ms` by the clock of the index, valid in one generation only."""

    generation: int
    time_ms: int


class Resync(IntEnum):
    """The reason why a client must resync all conversations; the values are those of the protos."""

    NONE = 0
    NO_CURSOR = 1
    OTHER_GENERATION = 2
    CURSOR_FROM_FUTURE = 3
    INDEX_UNAVAILABLE = 4


@dataclass(frozen=True, slots=True)
class IndexReading:
    """The conversations that changed since a cursor, empty if a resync is needed, and the cursor of the next read."""

    resync: Resync
    conversation_ids: tuple[str, ...]
    cursor: Cursor | None

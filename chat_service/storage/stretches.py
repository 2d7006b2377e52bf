"""Ranges for single places of a log: MongoDB reads the whole of a clustered collection to find a few ids of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from chat_service.model.conversation import Interval

# Of two places so near to each other, what is between is read as well rather than each alone.
MAX_GAP: Final = 32


def coalesce_ranges(seqs: Collection[int]) -> list[Interval]:
    """Ranges that cover these seqs, in order."""
    found: list[Interval] = []
    for seq in sorted(seqs):
        if found and seq - found[-1].last <= MAX_GAP:
            found[-1] = Interval(found[-1].first, seq)
        else:
            found.append(Interval(seq, seq))
    return found

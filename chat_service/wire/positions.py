"""The positions of chat's lists in their page tokens: their forms, and the conversion of those that are not text."""

from __future__ import annotations

import re
from typing import Final

from chat_service.history.history import ChangesPosition
from chat_service.history.message_search import Rank
from chat_service.model.cursor import Cursor, Resync

SEQ: Final = re.compile(r"[1-9][0-9]{0,17}")
LOGIN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{2,63}")
# Milliseconds since 1970, 15 digits, and the id of the device.
DEVICE_AGE: Final = re.compile(r"[0-9]{15}:[0-9a-f]{32}")
# The order of a message in the search index, below 9 * 10**18 to fit an int64, and the id of its conversation.
RANK: Final = re.compile(r"(?:[0-9]{1,18}|[1-8][0-9]{18}):[0-9a-f]{32}")
# Resync, the generation and time of the first page's cursor ("-" without one), and the last conversation's id.
CHANGES: Final = re.compile(r"[0-4]:(?:-:-|[0-9]{1,18}:[0-9]{1,18}):[0-9a-f]{32}")


def encode_rank(rank: Rank) -> str:
    """Return a rank as a position of form RANK."""
    return f"{rank.order}:{rank.conversation_id}"


def decode_rank(position: str) -> Rank:
    """Return the rank in a position of form RANK."""
    order, _, conversation_id = position.partition(":")
    return Rank(int(order), conversation_id)


def encode_changes_position(position: ChangesPosition) -> str:
    """Return a position in a list of changes as a position of form CHANGES."""
    cursor = position.cursor
    start = f"{cursor.generation}:{cursor.time_ms}" if cursor else "-:-"
    return f"{position.resync:d}:{start}:{position.after}"


def decode_changes_position(position: str) -> ChangesPosition:
    """Return the position in a list of changes from a position of form CHANGES."""
    resync, generation, time_ms, after = position.split(":")
    cursor = None if generation == "-" else Cursor(int(generation), int(time_ms))
    return ChangesPosition(Resync(int(resync)), cursor, after)

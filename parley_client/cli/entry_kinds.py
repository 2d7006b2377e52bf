"""The kinds of log entries, as words."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from parley.chat.v1.chat_pb2 import EntryRange
from parley.chat.v1.entry_pb2 import Entry
from parley_client.client import Client

_UNKNOWN_KIND: Final = "entry"
_KINDS: Final = {
    "message_appended": "message",
    "message_edited": "edit",
    "message_deleted": "deletion",
    "reaction_changed": "reaction",
    "membership_changed": "change of members",
    "conversation_updated": "change of settings",
}

Position = tuple[str, int]
"""A conversation and a seq of its log."""


async def fetch_entry_kinds(client: Client, positions: Collection[Position]) -> dict[Position, str]:
    """Return the kinds of at most 100 entries by position. Raise ParleyError.

    That of an entry that the user may not see any more, or that was removed, is “entry”.
    """
    ranges = [EntryRange(conversation_id=chat, after_seq=seq - 1, limit=1) for chat, seq in positions if seq > 0]
    found = await client.messages.list_entries(ranges)
    kinds = {(entry.conversation_id, entry.seq): _describe_kind(entry) for entry in found.entries}
    return {position: kinds.get(position, _UNKNOWN_KIND) for position in positions}


def _describe_kind(entry: Entry) -> str:
    return _KINDS.get(entry.WhichOneof("kind") or "", _UNKNOWN_KIND)

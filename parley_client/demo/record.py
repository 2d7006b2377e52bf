"""The messages sent and the entries received in the demo, as plain data for the checks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from parley.chat.v1 import entry_pb2

ShownMessage = tuple[str, bool, tuple[tuple[str, str], ...]]
"""A message as a device shows it: its text, whether it is deleted, and its reactions as (user id, emoji)."""


@dataclass(frozen=True, slots=True)
class RecordedEntry:
    """An entry as a device received it. `content` is the text of a message, or the kind of another entry.

    `changed`: the message had been edited or deleted by then. `is_message`: the entry is a message.
    """

    seq: int
    actor_id: str
    content: str
    live: bool = False
    is_message: bool = True
    changed: bool = False

    def is_same_entry(self, other: RecordedEntry) -> bool:
        """Return True if both are the same entry; contents are compared only if neither had been changed."""
        if self.changed or other.changed:
            return (self.seq, self.actor_id) == (other.seq, other.actor_id)
        return (self.seq, self.actor_id, self.content) == (other.seq, other.actor_id, other.content)


@dataclass(frozen=True, slots=True)
class AcknowledgedMessage:
    """A message that the server acknowledged; `sender` is the device's name, `send_index` counts its sends."""

    conversation_id: str
    sender: str
    send_index: int
    actor_id: str
    text: str
    seq: int


@dataclass(slots=True)
class DeviceRecord:
    """All entries that one device received, by conversation, in order of arrival, with repeats."""

    device_name: str
    entries: dict[str, list[RecordedEntry]] = field(default_factory=lambda: defaultdict(list))

    def append(self, entry: entry_pb2.Entry, live: bool) -> None:
        """Append a received entry."""
        self.entries[entry.conversation_id].append(record_entry(entry, live))

    def seqs(self, conversation_id: str) -> list[int]:
        """Return the seqs in order of arrival."""
        return [entry.seq for entry in self.entries.get(conversation_id, [])]


def record_entry(entry: entry_pb2.Entry, live: bool = False) -> RecordedEntry:
    """Return an entry as plain data."""
    kind = entry.WhichOneof("kind") or ""
    message = entry.message_appended
    content = message.content.text.body if message.content.HasField("text") else kind
    changed = bool(message.edit_seq or message.delete_seq)
    return RecordedEntry(entry.seq, entry.actor_id, content, live, kind == "message_appended", changed)

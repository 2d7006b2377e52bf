"""What the players of the demo sent and saw, as plain data to be judged afterwards."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from parley.chat.v1 import entry_pb2

ShownMessage = tuple[str, bool, tuple[tuple[str, str], ...]]
"""The words of a message, whether it was deleted, and its reactions by user."""


@dataclass(frozen=True, slots=True)
class RecordedEntry:
    """An entry as a device saw it; `what` is its kind and content, the same for every member.

    `changed`: it is a message that had been edited or deleted when it was seen. `message`: it is one at all.
    """

    seq: int
    actor_id: str
    content: str
    live: bool = False
    is_message: bool = True
    changed: bool = False

    def is_same_entry(self, other: RecordedEntry) -> bool:
        """Whether both are the same entry, however and whenever they came."""
        if self.changed or other.changed:
            return (self.seq, self.actor_id) == (other.seq, other.actor_id)
        return (self.seq, self.actor_id, self.content) == (other.seq, other.actor_id, other.content)


@dataclass(frozen=True, slots=True)
class AcknowledgedMessage:
    """A message the server said it has; `sender` names the device, `number` counts its sends."""

    conversation_id: str
    sender: str
    send_index: int
    actor_id: str
    text: str
    seq: int


@dataclass(slots=True)
class DeviceRecord:
    """Everything one device was given, per conversation, in the order it came, repeats included."""

    device_name: str
    entries: dict[str, list[RecordedEntry]] = field(default_factory=lambda: defaultdict(list))

    def append(self, entry: entry_pb2.Entry, live: bool) -> None:
        """Write an entry down."""
        self.entries[entry.conversation_id].append(record_entry(entry, live))

    def seqs(self, conversation_id: str) -> list[int]:
        """The seqs in the order they came."""
        return [each.seq for each in self.entries.get(conversation_id, [])]


def record_entry(entry: entry_pb2.Entry, live: bool = False) -> RecordedEntry:
    """An entry as plain data."""
    kind = entry.WhichOneof("kind") or ""
    message = entry.message_appended
    what = message.content.text.body if message.content.HasField("text") else kind
    changed = bool(message.edit_seq or message.delete_seq)
    return RecordedEntry(entry.seq, entry.actor_id, what, live, kind == "message_appended", changed)

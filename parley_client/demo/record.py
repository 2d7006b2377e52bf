"""What the players of the demo sent and saw, as plain data to be judged afterwards."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from parley.chat.v1 import entry_pb2


@dataclass(frozen=True, slots=True)
class Seen:
    """An entry as a device saw it; `what` is its kind and content, the same for every member."""

    seq: int
    actor_id: str
    what: str
    live: bool = False

    def same(self, other: Seen) -> bool:
        """Whether both are the same entry, however they came."""
        return (self.seq, self.actor_id, self.what) == (other.seq, other.actor_id, other.what)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A message the server said it has; `sender` names the device, `number` counts its sends."""

    conversation_id: str
    sender: str
    number: int
    actor_id: str
    text: str
    seq: int


@dataclass(slots=True)
class Notebook:
    """Everything one device was given, per conversation, in the order it came, repeats included."""

    owner: str
    pages: dict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))

    def note(self, entry: entry_pb2.Entry, live: bool) -> None:
        """Write an entry down."""
        self.pages[entry.conversation_id].append(seen(entry, live))

    def seqs(self, conversation_id: str) -> list[int]:
        """The seqs in the order they came."""
        return [each.seq for each in self.pages.get(conversation_id, [])]


def seen(entry: entry_pb2.Entry, live: bool = False) -> Seen:
    """An entry as plain data."""
    kind = entry.WhichOneof("kind") or ""
    message = entry.message_appended
    if kind == "message_appended" and message.content.HasField("text"):
        return Seen(entry.seq, entry.actor_id, message.content.text.body, live)
    return Seen(entry.seq, entry.actor_id, kind, live)

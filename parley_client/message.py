"""One message in its present state, put together from whatever entries told about it, in any order. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from parley.chat.v1.entry_pb2 import Content, Entry


@dataclass(frozen=True, slots=True)
class Message:
    """What is shown of a message. `content` is None once it was deleted for all or is no longer kept."""

    seq: int
    actor_id: str
    time: datetime
    content: Content | None
    edited: bool = False
    deleted: bool = False
    reactions: Mapping[str, str] = field(default_factory=dict)
    """The reaction of each user who has one."""
    number: int = 0
    """How many messages the conversation had with this one; unread counts are differences of it."""

    @property
    def text(self) -> str:
        """Its words; empty if it says something else."""
        return self.content.text.body if self.content is not None and self.content.HasField("text") else ""

    @property
    def reply_to_seq(self) -> int:
        """The seq of the message it answers; 0: none."""
        return self.content.reply_to_seq if self.content is not None else 0


class Told:
    """What entries told about the message at one seq. An older change never undoes a newer one.

    The message's own entry holds its state at the moment it was read. It may be newer than changes that are still
    to come, which then repeat what it says, the last of each kind last.
    """

    __slots__ = ("_delete_seq", "_edit", "_edit_seq", "_entry", "_expired", "_message", "_reactions")

    def __init__(self) -> None:
        self._entry: Entry | None = None
        self._edit: Content | None = None
        self._edit_seq = 0
        self._delete_seq = 0
        self._expired = False
        self._reactions: dict[str, tuple[int, str]] = {}
        self._message: Message | None = None

    def appended(self, entry: Entry) -> None:
        """The message's own entry; a copy that knows less than the one before is of no use."""
        known, new = self._entry, entry.message_appended
        if known is None or _age(new.edit_seq, new.delete_seq) >= _age(
            known.message_appended.edit_seq, known.message_appended.delete_seq
        ):
            self._entry, self._message = entry, None

    def changed(self, entry: Entry) -> None:
        """A later entry that concerns the message."""
        if entry.HasField("message_deleted"):
            self._delete_seq = entry.seq
        elif entry.HasField("reaction_changed"):
            if entry.seq > self._reactions.get(entry.actor_id, (0, ""))[0]:
                self._reactions[entry.actor_id] = entry.seq, entry.reaction_changed.emoji
        elif entry.message_edited.HasField("content") and entry.seq > self._edit_seq:
            self._edit_seq, self._edit = entry.seq, entry.message_edited.content
        self._message = None

    def expire(self) -> None:
        """Its content is kept no longer."""
        self._expired, self._message = True, None

    @property
    def message(self) -> Message | None:
        """The message, the same object until something changes; None: its own entry has not come."""
        if self._message is None and self._entry is not None:
            self._message = self._put_together(self._entry)
        return self._message

    def _put_together(self, entry: Entry) -> Message:
        said = entry.message_appended
        deleted = bool(said.delete_seq or self._delete_seq)
        content = self._edit if self._edit_seq > said.edit_seq else said.content
        kept = not (deleted or self._expired) and (content is not said.content or said.HasField("content"))
        return Message(
            entry.seq,
            entry.actor_id,
            entry.create_time.ToDatetime(tzinfo=UTC),
            content if kept else None,
            edited=kept and bool(said.edit_seq or self._edit_seq),
            deleted=deleted,
            reactions={} if deleted else self._present_reactions(entry),
            number=entry.message_number,
        )

    def _present_reactions(self, entry: Entry) -> dict[str, str]:
        present = {each.user_id: each.emoji for each in entry.message_appended.reactions}
        present |= {user: emoji for user, (_, emoji) in self._reactions.items()}
        return {user: present[user] for user in sorted(present) if present[user]}


def _age(edit_seq: int, delete_seq: int) -> int:
    return max(edit_seq, delete_seq)

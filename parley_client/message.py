"""The current state of one message, built from its entries in any order, and the calls that change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from parley.chat.v1.entry_pb2 import Content, Entry, MessageAppended
from parley_client.media.facts import Media, MediaVariant
from parley_client.media.progress import ProgressCallback

if TYPE_CHECKING:
    from parley_client.messages import AppendResult, Messages


@dataclass(frozen=True, slots=True)
class Message:
    """A message in its current state. `content` is None once it is deleted for all or its retention has ended.

    The methods make calls of the client that the message came from, and raise ParleyError. The message itself does not
    change: the change arrives as an event, and a view shows it.
    """

    seq: int
    actor_id: str
    time: datetime
    content: Content | None
    edited: bool = False
    deleted: bool = False
    reactions: Mapping[str, str] = field(default_factory=dict)
    """The emoji of each user who reacted."""
    number: int = 0
    """The message's number in the conversation, from 1; differences of it are unread counts."""
    conversation_id: str = ""
    """The id of the conversation: 32 lower-case hex digits."""
    source: Entry | None = field(default=None, repr=False, compare=False)
    """The log entry in the contract's form, with the edits and reactions up to the time at which it was read."""
    calls: Messages | None = field(default=None, repr=False, compare=False)
    """The calls that the methods make; None: the message came from no client, and the methods raise RuntimeError."""

    @classmethod
    def from_entry(cls, entry: Entry, calls: Messages | None = None) -> Message:
        """Return the message of an appended entry. Raises ValueError for an entry of another kind."""
        builder = MessageBuilder(calls)
        if entry.HasField("message_appended"):
            builder.apply_append(entry)
        if (message := builder.message) is None:
            raise ValueError(f"the entry {entry.seq} is not a message")
        return message

    @property
    def text(self) -> str:
        """The text; empty if the content is not a text."""
        return self.content.text.body if self.content is not None and self.content.HasField("text") else ""

    @property
    def media(self) -> Media | None:
        """The file of the message with its caption; None if the content is no file."""
        if self.content is None or not self.content.HasField("media"):
            return None
        return Media.from_reference(self.content.media)

    @property
    def reply_to_seq(self) -> int:
        """The seq of the message it replies to; 0: none."""
        return self.content.reply_to_seq if self.content is not None else 0

    @property
    def entry(self) -> Entry:
        """The log entry of `source`. Raises ValueError if there is none."""
        if self.source is None:
            raise ValueError("the message was not read from a log entry")
        return self.source

    async def reply(self, content: str | Content) -> AppendResult:
        """Send a message to the same conversation that replies to this one."""
        return await self._bound_calls.send(self.conversation_id, content, reply_to_seq=self.seq)

    async def forward(self, conversation_id: str) -> AppendResult:
        """Forward the content to a conversation. Raises ValueError if the content was deleted."""
        if self.content is None:
            raise ValueError("the message has no content to forward")
        return await self._bound_calls.forward(conversation_id, self.content)

    async def download(
        self,
        path: Path | str,
        *,
        variant: MediaVariant = MediaVariant.ORIGINAL,
        overwrite: bool = False,
        on_progress: ProgressCallback | None = None,
    ) -> Path:
        """Download the file of the message, as `Files.download` does. Raises ValueError if it has none, and OSError."""
        if (media := self.media) is None:
            raise ValueError("the message has no file to download")
        files = self._bound_calls.files
        return await files.download(media, path, variant=variant, overwrite=overwrite, on_progress=on_progress)

    async def react(self, emoji: str) -> AppendResult:
        """Set the user's reaction; an empty emoji removes it."""
        return await self._bound_calls.set_reaction(self.conversation_id, self.seq, emoji)

    async def edit(self, content: str | Content) -> AppendResult:
        """Replace the content of one of the user's own messages."""
        return await self._bound_calls.edit(self.conversation_id, self.seq, content)

    async def delete(self, *, for_all: bool = True) -> AppendResult | None:
        """Delete the message for all members (author or admin), or hide it from the user only and return None."""
        return await self._bound_calls.delete(self.conversation_id, self.seq, for_all=for_all)

    @property
    def _bound_calls(self) -> Messages:
        if self.calls is None:
            raise RuntimeError("the message came from no client; use client.messages instead of its methods")
        return self.calls


class MessageBuilder:
    """The message at one seq, built from its own entry and its mutations. An older mutation never undoes a newer one.

    The message's own entry holds the state at the time it was read. Mutations that arrive later may already be part
    of that state; they repeat it, and the newest mutation of each kind arrives last.
    """

    __slots__ = ("_calls", "_delete_seq", "_edit", "_edit_seq", "_entry", "_expired", "_message", "_reactions")

    def __init__(self, calls: Messages | None = None) -> None:
        self._calls = calls
        self._entry: Entry | None = None
        self._edit: Content | None = None
        self._edit_seq = 0
        self._delete_seq = 0
        self._expired = False
        self._reactions: dict[str, tuple[int, str]] = {}
        self._message: Message | None = None

    def apply_append(self, entry: Entry) -> None:
        """Apply the message's own entry; a copy older than the known one is ignored, as is one without its content.

        The server may have removed content that this device keeps.
        """
        known, new = self._entry, entry.message_appended
        if known is not None:
            known_seq, new_seq = _last_mutation_seq(known.message_appended), _last_mutation_seq(new)
            was_removed = known.message_appended.HasField("content") and not new.HasField("content")
            if new_seq < known_seq or (new_seq == known_seq and was_removed):
                return
        self._entry, self._message = entry, None

    def apply_mutation(self, entry: Entry) -> None:
        """Apply a later entry that edits, deletes or reacts to the message."""
        if entry.HasField("message_deleted"):
            self._delete_seq = entry.seq
        elif entry.HasField("reaction_changed"):
            if entry.seq > self._reactions.get(entry.actor_id, (0, ""))[0]:
                self._reactions[entry.actor_id] = entry.seq, entry.reaction_changed.emoji
        elif entry.seq > self._edit_seq:
            # Without content, it was replaced by a later edit, or made while the user was not a member.
            edited = entry.message_edited
            self._edit_seq, self._edit = entry.seq, edited.content if edited.HasField("content") else None
        self._message = None

    def mark_expired(self) -> None:
        """Remove the content, because its retention has ended."""
        self._expired, self._message = True, None

    @property
    def message(self) -> Message | None:
        """The message, the same object until something changes; None: its own entry has not arrived."""
        if self._message is None and self._entry is not None:
            self._message = self._build(self._entry)
        return self._message

    def _build(self, entry: Entry) -> Message:
        appended = entry.message_appended
        deleted = bool(appended.delete_seq or self._delete_seq)
        content = appended.content if appended.HasField("content") else None
        if self._edit_seq > appended.edit_seq:
            content = self._edit
        if deleted or self._expired:
            content = None
        return Message(
            entry.seq,
            entry.actor_id,
            entry.create_time.ToDatetime(tzinfo=UTC),
            content,
            edited=content is not None and bool(appended.edit_seq or self._edit_seq),
            deleted=deleted,
            reactions={} if deleted or self._expired else self._current_reactions(entry),
            number=entry.message_number,
            conversation_id=entry.conversation_id,
            source=entry,
            calls=self._calls,
        )

    def _current_reactions(self, entry: Entry) -> dict[str, str]:
        reactions = {each.user_id: each.emoji for each in entry.message_appended.reactions}
        reactions |= {user: emoji for user, (_, emoji) in self._reactions.items()}
        return {user: reactions[user] for user in sorted(reactions) if reactions[user]}


def _last_mutation_seq(appended: MessageAppended) -> int:
    return max(appended.edit_seq, appended.delete_seq)

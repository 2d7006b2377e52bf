"""What comes down a stream about conversations, made into events in the right order. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from parley.chat.v1 import chat_pb2, entry_pb2
from parley_client.catchup import Catchup
from parley_client.errors import ParleyError, from_status
from parley_client.events import (
    CaughtUp,
    ConversationChecked,
    ConversationGone,
    EntryReceived,
    Event,
    Settings,
    WatermarkMoved,
)
from parley_client.log_assembler import Assembly
from parley_client.session import DeviceState
from parley_client.watermarks import Receipts, Watermarks

Entry = entry_pb2.Entry

# Seconds before a conversation is looked at again: whose entries are ahead of its readable head; that was refused.
BEHIND = 0.2
REFUSED = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything of a conversation up to `last_seq` has been taken by the application."""

    conversation_id: str
    last_seq: int


@dataclass(frozen=True, slots=True)
class Item:
    """An event, and what is true for the next run once the application has taken it."""

    event: Event | None
    reached: Progress | chat_pb2.Cursor | None = None


class Inbox:
    """The conversations of one device. `repair` False: gaps are neither held back nor fetched."""

    def __init__(
        self, me: str, state: DeviceState, receipts: Receipts, *, repair: bool = True, from_start: bool = True
    ) -> None:
        self.watermarks = Watermarks()
        self.catchup = Catchup()
        self.range_entries = 500
        self._me = me
        self._state = state
        self._receipts = receipts
        self._repair = repair
        self._from_start = from_start
        self._assemblies: dict[str, Assembly] = {}
        self._from_head: set[str] = set()
        self._suspects: tuple[set[str], set[str]] = (set(), set())
        self._rounds_on_stream = 0

    def last_seq(self, conversation: str) -> int:
        """How far the device has assembled a conversation."""
        known = self._assemblies.get(conversation)
        return known.last_seq if known else self._state.last_seqs.get(conversation, 0)

    def new_stream(self) -> None:
        """Looks under way died with the old stream; the new one names everything again."""
        self.catchup.reset()
        self._rounds_on_stream = 0
        if self._repair:
            for conversation, assembly in self._assemblies.items():
                if assembly.has_gap:
                    self.catchup.want(conversation)

    def changes(self, changes: chat_pb2.Changes) -> list[Item]:
        """A page of conversations to look at."""
        if not self._repair and self._rounds_on_stream:
            return []
        self._rounds_on_stream += changes.last_page
        self.catchup.page(changes)
        return self._finished()

    def ranges(self, now: float) -> list[chat_pb2.EntryRange]:
        """What to fetch now."""
        return [self._range(conversation) for conversation in self.catchup.due(now)]

    def entries(self, frame: chat_pb2.Entries, now: float, *, current: bool = True) -> list[Item]:
        """Entries came, live or fetched. `current` False: on a stream that is being left, whose fetches are void."""
        if not frame.ranges:
            return [item for entry in frame.entries for item in self._live(entry)]
        if not current:
            return []
        items: list[Item] = []
        for result in frame.ranges:
            mine = [entry for entry in frame.entries if entry.conversation_id == result.conversation_id]
            items += self._range_came(result, mine, now)
        return items + self._finished()

    def marks(self, marks: Iterable[chat_pb2.Watermark]) -> list[Item]:
        """Watermarks came."""
        moved = (self._mark(mark) for mark in marks)
        return [Item(event) for event in moved if event]

    def hear_of(self, conversation: str, seq: int) -> None:
        """The log of a conversation reaches `seq`, as an answer or a watermark showed."""
        assembly = self._assembly(conversation, seq)
        assembly.hear_of(seq)
        if assembly.is_behind:
            self._suspects[1].add(conversation)

    def tick(self) -> None:
        """Look at what has stayed behind since the last tick: the last entries of a log may be lost unseen."""
        old, new = self._suspects
        self._suspects = (new, set())
        for conversation in old if self._repair else ():
            if self._assemblies[conversation].is_behind:
                self.catchup.want(conversation)
                self._suspects[1].add(conversation)

    def _assembly(self, conversation: str, starting_at: int = 1) -> Assembly:
        known = self._assemblies.get(conversation)
        if known is None:
            start = self._state.last_seqs.get(conversation)
            if start is None and not self._from_start and not self.catchup.is_looking(conversation):
                start = starting_at - 1
            known = self._assemblies[conversation] = Assembly(start or 0)
        return known

    def _range(self, conversation: str) -> chat_pb2.EntryRange:
        seen = conversation in self._assemblies or conversation in self._state.last_seqs
        if not seen and not self._from_start:
            self._from_head.add(conversation)
            return chat_pb2.EntryRange(conversation_id=conversation, limit=1)
        return chat_pb2.EntryRange(
            conversation_id=conversation, after_seq=self.last_seq(conversation), limit=self.range_entries
        )

    def _live(self, entry: Entry) -> list[Item]:
        conversation = entry.conversation_id
        assembly = self._assembly(conversation, entry.seq)
        before = assembly.last_seq
        ready = assembly.live(entry)
        if assembly.has_gap and entry.seq > before:
            if self._repair:
                self.catchup.want(conversation)
            elif not self.catchup.is_looking(conversation):
                ready += assembly.release()
        return self._surface(ready, live=True)

    def _range_came(self, result: chat_pb2.RangeResult, entries: Sequence[Entry], now: float) -> list[Item]:
        conversation = result.conversation_id
        if result.HasField("status") and result.status.code:
            return self._range_refused(conversation, from_status(result.status), now)
        assembly = self._assembly(conversation)
        if conversation in self._from_head:
            self._from_head.discard(conversation)
            return self._checked(result, assembly.fetched((), 0, result.head_seq), now)
        covers = max([entry.seq for entry in entries], default=result.after_seq)
        if result.complete:
            covers = max(covers, result.head_seq)
        return self._checked(result, assembly.fetched(entries, result.after_seq, covers), now)

    def _checked(self, result: chat_pb2.RangeResult, ready: list[Entry], now: float) -> list[Item]:
        conversation = result.conversation_id
        assembly = self._assemblies[conversation]
        items = self._surface(ready, live=False)
        items.append(Item(None, Progress(conversation, assembly.last_seq)))
        items += self.marks(result.watermarks)
        if assembly.last_seq < result.head_seq:
            # Without progress the next fetch waits a moment.
            self.catchup.again(conversation, 0.0 if ready else now + BEHIND)
            return items
        self.catchup.looked(conversation)
        if not self._repair:
            items += self._surface(assembly.release(), live=True)
        elif assembly.has_gap:
            self.catchup.want(conversation, now + BEHIND)
        else:
            assembly.give_up()
        items.append(Item(_checked(result)))
        return items

    def _range_refused(self, conversation: str, error: ParleyError, now: float) -> list[Item]:
        if error.code != "NOT_FOUND":
            wait = REFUSED if error.retry_after is None else error.retry_after
            self.catchup.again(conversation, now + wait)
            return []
        self.catchup.looked(conversation)
        self.watermarks.forget(conversation)
        self._receipts.forget(conversation)
        if conversation in self._assemblies:
            self._assemblies[conversation].give_up()
        return [Item(ConversationGone(conversation, error))]

    def _surface(self, ready: Sequence[Entry], *, live: bool) -> list[Item]:
        for entry in ready:
            if entry.HasField("message_appended"):
                # Whoever wrote it has received and read all before; the server sends no watermark for that.
                self.watermarks.raise_to(entry.conversation_id, entry.actor_id, entry.seq, entry.seq)
                if entry.actor_id == self._me:
                    self._receipts.confirm(entry.conversation_id, entry.seq, entry.seq)
        return [Item(EntryReceived(entry, live), Progress(entry.conversation_id, entry.seq)) for entry in ready]

    def _mark(self, mark: chat_pb2.Watermark) -> WatermarkMoved | None:
        if mark.user_id == self._me:
            self._receipts.confirm(mark.conversation_id, mark.delivered_seq, mark.read_seq)
        self.hear_of(mark.conversation_id, max(mark.delivered_seq, mark.read_seq))
        return self.watermarks.raise_to(mark.conversation_id, mark.user_id, mark.delivered_seq, mark.read_seq)

    def _finished(self) -> list[Item]:
        return [Item(CaughtUp(done.resync), done.cursor) for done in self.catchup.finished()]


def _checked(result: chat_pb2.RangeResult) -> ConversationChecked:
    return ConversationChecked(
        result.conversation_id,
        result.head_seq,
        result.first_seq,
        result.unread_count,
        Settings.of(result.settings),
        frozenset(result.hidden_seqs),
    )

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
    PersonalSettings,
    WatermarkMoved,
)
from parley_client.log_assembler import LogAssembler
from parley_client.session import DeviceState
from parley_client.watermarks import ReceiptTracker, Watermarks

Entry = entry_pb2.Entry

# Seconds before a conversation is looked at again: whose entries are ahead of its readable head; that was refused.
BEHIND_RETRY_DELAY_S = 0.2
REFUSED_RETRY_DELAY_S = 5.0


@dataclass(frozen=True, slots=True)
class LogCheckpoint:
    """Everything of a conversation up to `last_seq` has been taken by the application."""

    conversation_id: str
    last_seq: int


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event, and what is true for the next run once the application has taken it."""

    event: Event | None
    checkpoint: LogCheckpoint | chat_pb2.Cursor | None = None


class Inbox:
    """The conversations of one device. `repair` False: gaps are neither held back nor fetched."""

    def __init__(
        self,
        user_id: str,
        state: DeviceState,
        receipts: ReceiptTracker,
        *,
        repair: bool = True,
        history_from_start: bool = True,
    ) -> None:
        self.watermarks = Watermarks()
        self.catchup = Catchup()
        self.range_entries = 500
        self._user_id = user_id
        self._state = state
        self._receipts = receipts
        self._repair = repair
        self._history_from_start = history_from_start
        self._assemblers: dict[str, LogAssembler] = {}
        self._starting_at_head: set[str] = set()
        self._suspects: tuple[set[str], set[str]] = (set(), set())
        self._rounds_received = 0

    def last_seq(self, conversation: str) -> int:
        """How far the device has assembled a conversation."""
        known = self._assemblers.get(conversation)
        return known.last_seq if known else self._state.last_seqs.get(conversation, 0)

    def start_stream(self) -> None:
        """Looks under way died with the old stream; the new one names everything again."""
        self.catchup.reset()
        self._rounds_received = 0
        if self._repair:
            for conversation, assembly in self._assemblers.items():
                if assembly.has_gap:
                    self.catchup.request_fetch(conversation)

    def handle_changes(self, changes: chat_pb2.Changes) -> list[QueuedEvent]:
        """A page of conversations to look at."""
        if not self._repair and self._rounds_received:
            return []
        self._rounds_received += changes.last_page
        self.catchup.add_page(changes)
        return self._finished_rounds()

    def start_due_fetches(self, now: float) -> list[chat_pb2.EntryRange]:
        """What to fetch now."""
        return [self._range_to_fetch(conversation) for conversation in self.catchup.start_due_fetches(now)]

    def handle_entries(self, frame: chat_pb2.Entries, now: float, *, current: bool = True) -> list[QueuedEvent]:
        """Entries came, live or fetched. `current` False: on a stream that is being left, whose fetches are void."""
        if not frame.ranges:
            return [item for entry in frame.entries for item in self._handle_live_entry(entry)]
        if not current:
            return []
        items: list[QueuedEvent] = []
        for result in frame.ranges:
            mine = [entry for entry in frame.entries if entry.conversation_id == result.conversation_id]
            items += self._handle_range(result, mine, now)
        return items + self._finished_rounds()

    def handle_watermarks(self, marks: Iterable[chat_pb2.Watermark]) -> list[QueuedEvent]:
        """Watermarks came."""
        moved = (self._handle_watermark(mark) for mark in marks)
        return [QueuedEvent(event) for event in moved if event]

    def note_head(self, conversation: str, seq: int) -> None:
        """The log of a conversation reaches `seq`, as an answer or a watermark showed."""
        assembly = self._assembler_for(conversation, seq)
        assembly.note_head(seq)
        if assembly.is_behind:
            self._suspects[1].add(conversation)

    def tick(self) -> None:
        """Look at what has stayed behind since the last tick: the last entries of a log may be lost unseen."""
        old, new = self._suspects
        self._suspects = (new, set())
        for conversation in old if self._repair else ():
            if self._assemblers[conversation].is_behind:
                self.catchup.request_fetch(conversation)
                self._suspects[1].add(conversation)

    def _assembler_for(self, conversation: str, starting_at: int = 1) -> LogAssembler:
        known = self._assemblers.get(conversation)
        if known is None:
            start = self._state.last_seqs.get(conversation)
            if start is None and not self._history_from_start and not self.catchup.is_fetching(conversation):
                start = starting_at - 1
            known = self._assemblers[conversation] = LogAssembler(start or 0)
        return known

    def _range_to_fetch(self, conversation: str) -> chat_pb2.EntryRange:
        seen = conversation in self._assemblers or conversation in self._state.last_seqs
        if not seen and not self._history_from_start:
            self._starting_at_head.add(conversation)
            return chat_pb2.EntryRange(conversation_id=conversation, limit=1)
        return chat_pb2.EntryRange(
            conversation_id=conversation, after_seq=self.last_seq(conversation), limit=self.range_entries
        )

    def _handle_live_entry(self, entry: Entry) -> list[QueuedEvent]:
        conversation = entry.conversation_id
        assembly = self._assembler_for(conversation, entry.seq)
        before = assembly.last_seq
        ready = assembly.add_live(entry)
        if assembly.has_gap and entry.seq > before:
            if self._repair:
                self.catchup.request_fetch(conversation)
            elif not self.catchup.is_fetching(conversation):
                ready += assembly.release_held()
        return self._surface_entries(ready, live=True)

    def _handle_range(self, result: chat_pb2.RangeResult, entries: Sequence[Entry], now: float) -> list[QueuedEvent]:
        conversation = result.conversation_id
        if result.HasField("status") and result.status.code:
            return self._handle_range_error(conversation, from_status(result.status), now)
        assembly = self._assembler_for(conversation)
        if conversation in self._starting_at_head:
            self._starting_at_head.discard(conversation)
            return self._finish_range(result, assembly.add_fetched((), 0, result.head_seq), now)
        covers = max([entry.seq for entry in entries], default=result.after_seq)
        if result.complete:
            covers = max(covers, result.head_seq)
        return self._finish_range(result, assembly.add_fetched(entries, result.after_seq, covers), now)

    def _finish_range(self, result: chat_pb2.RangeResult, ready: list[Entry], now: float) -> list[QueuedEvent]:
        conversation = result.conversation_id
        assembly = self._assemblers[conversation]
        items = self._surface_entries(ready, live=False)
        items.append(QueuedEvent(None, LogCheckpoint(conversation, assembly.last_seq)))
        items += self.handle_watermarks(result.watermarks)
        if assembly.last_seq < result.head_seq:
            # Without progress the next fetch waits a moment.
            self.catchup.retry_fetch(conversation, 0.0 if ready else now + BEHIND_RETRY_DELAY_S)
            return items
        self.catchup.complete_fetch(conversation)
        if not self._repair:
            items += self._surface_entries(assembly.release_held(), live=True)
        elif assembly.has_gap:
            self.catchup.request_fetch(conversation, now + BEHIND_RETRY_DELAY_S)
        else:
            assembly.drop_held()
        items.append(QueuedEvent(_conversation_checked(result)))
        return items

    def _handle_range_error(self, conversation: str, error: ParleyError, now: float) -> list[QueuedEvent]:
        if error.code != "NOT_FOUND":
            wait = REFUSED_RETRY_DELAY_S if error.retry_after is None else error.retry_after
            self.catchup.retry_fetch(conversation, now + wait)
            return []
        self.catchup.complete_fetch(conversation)
        self.watermarks.remove(conversation)
        self._receipts.remove(conversation)
        if conversation in self._assemblers:
            self._assemblers[conversation].drop_held()
        return [QueuedEvent(ConversationGone(conversation, error))]

    def _surface_entries(self, ready: Sequence[Entry], *, live: bool) -> list[QueuedEvent]:
        for entry in ready:
            if entry.HasField("message_appended"):
                # Whoever wrote it has received and read all before; the server sends no watermark for that.
                self.watermarks.advance(entry.conversation_id, entry.actor_id, entry.seq, entry.seq)
                if entry.actor_id == self._user_id:
                    self._receipts.confirm(entry.conversation_id, entry.seq, entry.seq)
        return [
            QueuedEvent(EntryReceived(entry, live), LogCheckpoint(entry.conversation_id, entry.seq)) for entry in ready
        ]

    def _handle_watermark(self, mark: chat_pb2.Watermark) -> WatermarkMoved | None:
        if mark.user_id == self._user_id:
            self._receipts.confirm(mark.conversation_id, mark.delivered_seq, mark.read_seq)
        self.note_head(mark.conversation_id, max(mark.delivered_seq, mark.read_seq))
        return self.watermarks.advance(mark.conversation_id, mark.user_id, mark.delivered_seq, mark.read_seq)

    def _finished_rounds(self) -> list[QueuedEvent]:
        return [QueuedEvent(CaughtUp(done.resync), done.cursor) for done in self.catchup.pop_finished_rounds()]


def _conversation_checked(result: chat_pb2.RangeResult) -> ConversationChecked:
    return ConversationChecked(
        result.conversation_id,
        result.head_seq,
        result.first_seq,
        result.unread_count,
        PersonalSettings.from_proto(result.settings),
        frozenset(result.hidden_seqs),
    )

"""The inbox of a device: frames about conversations become ordered events. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley.chat.v1 import chat_pb2, entry_pb2
from parley_client.catchup import Catchup
from parley_client.errors import ParleyError, from_status
from parley_client.events import (
    CaughtUp,
    ConversationChecked,
    ConversationGone,
    EntryReceived,
    Event,
    WatermarkMoved,
)
from parley_client.log_assembler import LogAssembler
from parley_client.session import DeviceState
from parley_client.tracing import start_receive
from parley_client.watermarks import ReceiptTracker, Watermarks

if TYPE_CHECKING:
    from opentelemetry.trace import Span

Entry = entry_pb2.Entry

# Seconds before a fetch is repeated that made no progress towards the head, or that was refused.
BEHIND_RETRY_DELAY_S = 0.2
REFUSED_RETRY_DELAY_S = 5.0


@dataclass(frozen=True, slots=True)
class LogCheckpoint:
    """The application has processed a conversation's log up to `last_seq`."""

    conversation_id: str
    last_seq: int


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event, and the checkpoint to commit once the application has processed it. Either may be None.

    `span` is the span of a traced entry, which ends when the event leaves the queue.
    """

    event: Event | None
    checkpoint: LogCheckpoint | chat_pb2.Cursor | None = None
    span: Span | None = None


class Inbox:
    """The logs and watermarks of one device. `repair` False: entries behind gaps are neither held nor fetched."""

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
        # Conversations that fell behind their known head before the last tick, and those that did so since.
        self._behind: tuple[set[str], set[str]] = (set(), set())
        self._rounds_received = 0

    def last_seq(self, conversation: str) -> int:
        """Return the seq up to which a conversation is assembled without a gap."""
        assembler = self._assemblers.get(conversation)
        return assembler.last_seq if assembler else self._state.last_seqs.get(conversation, 0)

    def start_stream(self) -> None:
        """Drop the fetches of the previous stream, and request fetches of all gaps."""
        self.catchup.reset()
        self._rounds_received = 0
        if self._repair:
            for conversation, assembler in self._assemblers.items():
                if assembler.has_gap:
                    self.catchup.request_fetch(conversation)

    def handle_changes(self, changes: chat_pb2.Changes) -> list[QueuedEvent]:
        """Apply a page of changed conversations; return the events of the rounds that it finishes."""
        if not self._repair and self._rounds_received:
            return []
        self._rounds_received += changes.last_page
        self.catchup.add_page(changes)
        return self._finished_rounds()

    def start_due_fetches(self, now: float) -> list[chat_pb2.EntryRange]:
        """Return the ranges to fetch now, and count them as in flight."""
        return [self._range_to_fetch(conversation) for conversation in self.catchup.start_due_fetches(now)]

    def handle_entries(self, frame: chat_pb2.Entries, now: float, *, current: bool = True) -> list[QueuedEvent]:
        """Handle live or fetched entries. `current` is False on a retired stream, whose fetches are ignored."""
        if not frame.ranges:
            return [event for entry in frame.entries for event in self._handle_live_entry(entry)]
        if not current:
            return []
        events: list[QueuedEvent] = []
        for result in frame.ranges:
            range_entries = [entry for entry in frame.entries if entry.conversation_id == result.conversation_id]
            events += self._handle_range(result, range_entries, now)
        return events + self._finished_rounds()

    def handle_watermarks(self, watermarks: Iterable[chat_pb2.Watermark]) -> list[QueuedEvent]:
        """Apply received watermarks and return the events of those that rose."""
        changed = (self._handle_watermark(watermark) for watermark in watermarks)
        return [QueuedEvent(event) for event in changed if event]

    def note_head(self, conversation: str, seq: int) -> None:
        """Note that the log of a conversation reaches `seq`, as a send result or a watermark shows."""
        assembler = self._assembler_for(conversation, seq)
        assembler.note_head(seq)
        if assembler.is_behind:
            self._behind[1].add(conversation)

    def tick(self) -> None:
        """Fetch the logs that have stayed behind for a whole tick: a lost last entry leaves no gap."""
        overdue, recent = self._behind
        self._behind = (recent, set())
        for conversation in overdue if self._repair else ():
            if self._assemblers[conversation].is_behind:
                self.catchup.request_fetch(conversation)
                self._behind[1].add(conversation)

    def _assembler_for(self, conversation: str, first_seq: int = 1) -> LogAssembler:
        assembler = self._assemblers.get(conversation)
        if assembler is None:
            last_seq = self._state.last_seqs.get(conversation)
            if last_seq is None and not self._history_from_start and not self.catchup.is_fetching(conversation):
                last_seq = first_seq - 1
            assembler = self._assemblers[conversation] = LogAssembler(last_seq or 0)
        return assembler

    def _range_to_fetch(self, conversation: str) -> chat_pb2.EntryRange:
        is_known = conversation in self._assemblers or conversation in self._state.last_seqs
        if not is_known and not self._history_from_start:
            self._starting_at_head.add(conversation)
            return chat_pb2.EntryRange(conversation_id=conversation, limit=1)
        return chat_pb2.EntryRange(
            conversation_id=conversation, after_seq=self.last_seq(conversation), limit=self.range_entries
        )

    def _handle_live_entry(self, entry: Entry) -> list[QueuedEvent]:
        conversation = entry.conversation_id
        assembler = self._assembler_for(conversation, entry.seq)
        previous_seq = assembler.last_seq
        ready = assembler.add_live(entry)
        if assembler.has_gap and entry.seq > previous_seq:
            if self._repair:
                self.catchup.request_fetch(conversation)
            elif not self.catchup.is_fetching(conversation):
                ready += assembler.release_held()
        if self._repair and any(self._readds_user(each) for each in ready):
            # Members may have come and left meanwhile; the result of a fetch has them.
            self.catchup.request_fetch(conversation)
        return self._surface_entries(ready, live=True)

    def _readds_user(self, entry: Entry) -> bool:
        membership = entry.membership_changed
        return membership.kind == entry_pb2.MembershipChanged.KIND_ADDED and any(
            each.user_id == self._user_id for each in membership.members
        )

    def _handle_range(self, result: chat_pb2.RangeResult, entries: Sequence[Entry], now: float) -> list[QueuedEvent]:
        conversation = result.conversation_id
        if result.HasField("status") and result.status.code:
            return self._handle_range_error(conversation, from_status(result.status), now)
        assembler = self._assembler_for(conversation)
        if conversation in self._starting_at_head:
            self._starting_at_head.discard(conversation)
            return self._finish_range(result, assembler.add_fetched((), 0, result.head_seq), now)
        covered_seq = max([entry.seq for entry in entries], default=result.after_seq)
        if result.complete:
            covered_seq = max(covered_seq, result.head_seq)
        return self._finish_range(result, assembler.add_fetched(entries, result.after_seq, covered_seq), now)

    def _finish_range(self, result: chat_pb2.RangeResult, ready: list[Entry], now: float) -> list[QueuedEvent]:
        conversation = result.conversation_id
        assembler = self._assemblers[conversation]
        events = self._surface_entries(ready, live=False)
        events.append(QueuedEvent(None, LogCheckpoint(conversation, assembler.last_seq)))
        events += self.handle_watermarks(result.watermarks)
        if not result.complete or assembler.last_seq < result.head_seq:
            # A fetch without progress is repeated after a pause.
            self.catchup.retry_fetch(conversation, 0.0 if ready else now + BEHIND_RETRY_DELAY_S)
            return events
        self.catchup.complete_fetch(conversation)
        if not self._repair:
            events += self._surface_entries(assembler.release_held(), live=True)
        elif assembler.has_gap:
            self.catchup.request_fetch(conversation, now + BEHIND_RETRY_DELAY_S)
        else:
            assembler.drop_held()
        events.append(QueuedEvent(ConversationChecked.from_proto(result)))
        return events

    def _handle_range_error(self, conversation: str, error: ParleyError, now: float) -> list[QueuedEvent]:
        if error.code != "NOT_FOUND":
            delay_s = REFUSED_RETRY_DELAY_S if error.retry_after is None else error.retry_after
            self.catchup.retry_fetch(conversation, now + delay_s)
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
                # The author has received and read everything up to the message; no watermark is sent for that.
                self.watermarks.advance(entry.conversation_id, entry.actor_id, entry.seq, entry.seq)
                if entry.actor_id == self._user_id:
                    self._receipts.confirm(entry.conversation_id, entry.seq, entry.seq)
        return [
            QueuedEvent(
                EntryReceived(entry, live), LogCheckpoint(entry.conversation_id, entry.seq), start_receive(entry)
            )
            for entry in ready
        ]

    def _handle_watermark(self, watermark: chat_pb2.Watermark) -> WatermarkMoved | None:
        if watermark.user_id == self._user_id:
            self._receipts.confirm(watermark.conversation_id, watermark.delivered_seq, watermark.read_seq)
        self.note_head(watermark.conversation_id, max(watermark.delivered_seq, watermark.read_seq))
        return self.watermarks.advance(
            watermark.conversation_id, watermark.user_id, watermark.delivered_seq, watermark.read_seq
        )

    def _finished_rounds(self) -> list[QueuedEvent]:
        return [
            QueuedEvent(CaughtUp(completed.resync), completed.cursor)
            for completed in self.catchup.pop_finished_rounds()
        ]

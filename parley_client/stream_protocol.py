"""What is said on the streams of a device: frames in become events, what waits becomes frames out."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import UTC

from parley.chat.v1 import chat_pb2
from parley_client.clock import ServerClock
from parley_client.errors import InvalidRequest, ParleyError, TimedOut, from_status
from parley_client.events import EntryReceived, FrameRefused, PresenceChanged, SendRefused
from parley_client.inbox import Inbox, QueuedEvent
from parley_client.messages import AppendResult
from parley_client.send_pacer import SendPacer
from parley_client.send_queue import SendQueue
from parley_client.typing_indicators import TypingNotifier, TypingTracker
from parley_client.watermarks import ReceiptTracker

# Sends taken at once before anything else gets its turn.
MAX_SENDS_PER_BATCH = 32


class PendingSend:
    """A message on its way. Awaiting it gives Sent, or raises the ParleyError it was refused with."""

    def __init__(self, conversation_id: str, client_message_id: str) -> None:
        self.conversation_id = conversation_id
        self.client_message_id = client_message_id
        self.result: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()

    def __await__(self) -> Generator[None, None, AppendResult]:
        return asyncio.shield(self.result).__await__()

    def fail(self, error: ParleyError) -> None:
        """It has come to nothing; whoever awaits it learns why, and nobody has to."""
        if not self.result.done():
            self.result.set_exception(error)
            self.result.exception()


class StreamProtocol:
    """The state of a device that outlives its streams. `wake` is set when there may be something to write."""

    def __init__(self, inbox: Inbox, receipts: ReceiptTracker, send_queue: SendQueue, clock: ServerClock) -> None:
        self.inbox = inbox
        self.receipts = receipts
        self.send_queue = send_queue
        self.pacer = SendPacer()
        self.wakeup = asyncio.Event()
        self.activity = chat_pb2.ACTIVITY_FOREGROUND
        self.max_frame_bytes = 262_144
        self._clock = clock
        self._pending_sends: dict[str, PendingSend] = {}
        self._typing_notifier = TypingNotifier()
        self._typing_tracker = TypingTracker()
        self._typing_notices: dict[str, bool] = {}
        self._watched_user_ids: list[str] = []
        self._one_shot_frames: list[chat_pb2.ConnectRequest] = []

    def start_stream(self, welcome: chat_pb2.Welcome) -> None:
        """A new stream takes over: what had no answer is said again on it."""
        self._clock.observe(welcome.server_time.ToMilliseconds() / 1000)
        limits = welcome.limits
        self.pacer.set_limits(limits.sends_per_second, limits.sends_burst)
        self.max_frame_bytes = limits.frame_bytes or self.max_frame_bytes
        self.inbox.range_entries = limits.range_entries or self.inbox.range_entries
        self.inbox.catchup.max_in_flight = limits.fetch_ranges or self.inbox.catchup.max_in_flight
        self.inbox.start_stream()
        self.receipts.start_stream()
        self.send_queue.requeue_in_flight()
        self._one_shot_frames = [self._watch_frame()] if self._watched_user_ids else []
        self.wakeup.set()

    def handle_frame(self, frame: chat_pb2.ConnectResponse, now: float, *, current: bool) -> list[QueuedEvent]:
        """A frame came; `current` False: on a stream that is being left."""
        kind = frame.WhichOneof("frame")
        self.wakeup.set()
        if kind == "entries":
            return self._handle_entries(frame.entries, now, current)
        if kind == "send_results":
            return [
                item for each in frame.send_results.results for item in self._handle_send_result(each, now, current)
            ]
        if kind == "watermarks":
            return self.inbox.handle_watermarks(frame.watermarks.watermarks)
        if kind == "changes":
            return self.inbox.handle_changes(frame.changes) if current else []
        if kind == "typing":
            told = frame.typing
            changed = self._typing_tracker.apply_notice(told.conversation_id, told.user_id, told.typing, now)
            return [QueuedEvent(changed)] if changed else []
        if kind == "presence":
            return [QueuedEvent(_presence_changed(each)) for each in frame.presence.users]
        if kind == "error" and current:
            return [QueuedEvent(FrameRefused(from_status(frame.error.status)))]
        return []

    def send(self, request: chat_pb2.SendMessageRequest) -> PendingSend:
        """Put a message into its lane. Raises SendQueueFull and InvalidRequest."""
        if request.ByteSize() > self.max_frame_bytes - 64:
            raise InvalidRequest(
                f"a message may have {self.max_frame_bytes:,} bytes at most",
                code="INVALID_ARGUMENT",
                reason="CONTENT_TOO_LARGE",
            )
        self.send_queue.add(request)
        self._typing_notifier.message_sent(request.conversation_id)
        self._typing_notices.pop(request.conversation_id, None)
        sending = self._pending_sends.get(request.client_message_id)
        if sending is None:
            sending = PendingSend(request.conversation_id, request.client_message_id)
            self._pending_sends[request.client_message_id] = sending
        self.wakeup.set()
        return sending

    def expire_send(self, client_message_id: str) -> None:
        """The time for a send is over; it is not written again."""
        sending = self._pending_sends.pop(client_message_id, None)
        if sending and self.send_queue.cancel(client_message_id):
            sending.fail(TimedOut("no answer to the message in time", code="DEADLINE_EXCEEDED"))
        self.wakeup.set()

    def fail_pending(self, error: ParleyError) -> None:
        """No stream will follow: all that waits comes to nothing."""
        for pending in self.send_queue.clear():
            self._pending_sends.pop(pending.id).fail(error)

    def tick(self, now: float) -> list[QueuedEvent]:
        """A second has passed."""
        self.inbox.tick()
        self.receipts.tick()
        self.wakeup.set()
        return [QueuedEvent(changed) for changed in self._typing_tracker.expire(now)]

    def set_typing(self, conversation_id: str, typing: bool, now: float) -> None:
        """Tell the others, unless they know; only the newest word about a conversation waits."""
        news = self._typing_notifier.start_typing if typing else self._typing_notifier.stop_typing
        if news(conversation_id, now):
            self._typing_notices[conversation_id] = typing
            self.wakeup.set()

    def watch_presence(self, user_ids: list[str]) -> None:
        """Watch these users, on this stream and the next ones."""
        self._watched_user_ids = user_ids
        self.enqueue_frame(self._watch_frame())

    def enqueue_frame(self, frame: chat_pb2.ConnectRequest) -> None:
        """Say something on the current stream only; a newer frame of its kind takes its place."""
        kind = frame.WhichOneof("frame")
        self._one_shot_frames = [each for each in self._one_shot_frames if each.WhichOneof("frame") != kind] + [frame]
        self.wakeup.set()

    def take_frames(self, now: float) -> list[chat_pb2.ConnectRequest]:
        """What to write now; it counts as written."""
        frames, self._one_shot_frames = self._one_shot_frames, []
        if ranges := self.inbox.start_due_fetches(now):
            frames.append(chat_pb2.ConnectRequest(fetch=chat_pb2.Fetch(ranges=ranges)))
        if receipts := self.receipts.take_due():
            frames.append(chat_pb2.ConnectRequest(receipts=chat_pb2.UpdateReceiptsRequest(receipts=receipts)))
        typing, self._typing_notices = self._typing_notices, {}
        for conversation_id, on in typing.items():
            told = chat_pb2.SetTypingRequest(conversation_id=conversation_id, typing=on)
            frames.append(chat_pb2.ConnectRequest(typing=told))
        return frames + self._take_sends(now)

    def time_until_due(self, now: float) -> float | None:
        """Seconds until something that is postponed becomes due; None: nothing is."""
        moments = [self.send_queue.next_due_time(now), self.inbox.catchup.next_due_time()]
        waits = [max(0.0, at - now) for at in moments if at is not None]
        if self.send_queue.next_due_send(now) is not None:
            waits.append(self.pacer.time_until_available(now))
        return min(waits, default=None)

    def _take_sends(self, now: float) -> list[chat_pb2.ConnectRequest]:
        frames: list[chat_pb2.ConnectRequest] = []
        while (
            len(frames) < MAX_SENDS_PER_BATCH
            and (pending := self.send_queue.next_due_send(now))
            and self.pacer.try_acquire(now)
        ):
            self.send_queue.mark_written(pending)
            frames.append(chat_pb2.ConnectRequest(send_message=pending.request))
        return frames

    def _handle_entries(self, entries: chat_pb2.Entries, now: float, current: bool) -> list[QueuedEvent]:
        items: list[QueuedEvent] = []
        for item in self.inbox.handle_entries(entries, now, current=current):
            event = item.event
            if isinstance(event, EntryReceived) and event.entry.HasField("message_appended"):
                stopped = self._typing_tracker.stop_typing(event.conversation_id, event.actor_id)
                items += [QueuedEvent(stopped)] if stopped else []
            items.append(item)
        return items

    def _handle_send_result(self, result: chat_pb2.SendResult, now: float, current: bool) -> list[QueuedEvent]:
        if result.HasField("appended"):
            self.inbox.note_head(result.conversation_id, result.appended.seq)
            self.send_queue.complete(result.client_message_id)
            sending = self._pending_sends.pop(result.client_message_id, None)
            if sending and not sending.result.done():
                sending.result.set_result(AppendResult.from_proto(result.appended))
            return []
        # The stream that took over has been given the same send: its answer counts.
        return self._handle_refusal(result, from_status(result.refused), now) if current else []

    def _handle_refusal(self, result: chat_pb2.SendResult, error: ParleyError, now: float) -> list[QueuedEvent]:
        if error.retryable:
            if error.reason == "RATE_LIMITED":
                self.pacer.drain()
            self.send_queue.postpone(result.client_message_id, error.retry_after, now)
            return []
        self.send_queue.complete(result.client_message_id)
        sending = self._pending_sends.pop(result.client_message_id, None)
        if sending is None:
            return []
        sending.fail(error)
        return [QueuedEvent(SendRefused(result.conversation_id, result.client_message_id, error))]

    def _watch_frame(self) -> chat_pb2.ConnectRequest:
        return chat_pb2.ConnectRequest(watch_presence=chat_pb2.WatchPresenceRequest(user_ids=self._watched_user_ids))


def _presence_changed(told: chat_pb2.UserPresence) -> PresenceChanged:
    seen = told.last_seen_time.ToDatetime(tzinfo=UTC) if told.HasField("last_seen_time") else None
    return PresenceChanged(told.user_id, told.online, seen)

"""The device's side of the stream protocol: received frames become events, queued work becomes frames."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext

from parley.chat.v1 import chat_pb2
from parley_client.clock import ServerClock
from parley_client.errors import ContentTooLarge, ParleyError, TimedOut, from_status
from parley_client.events import EntryReceived, FrameRefused, PresenceChanged, SendRefused
from parley_client.inbox import Inbox, QueuedEvent
from parley_client.messages import AppendResult
from parley_client.send_pacer import SendPacer
from parley_client.send_queue import SendQueue
from parley_client.typing_indicators import TypingNotifier, TypingTracker
from parley_client.watermarks import ReceiptTracker

# Sends in one batch of frames, so that other frames are not delayed behind them.
MAX_SENDS_PER_BATCH = 32


class PendingSend:
    """A message without a final reply. Awaiting it returns the AppendResult or raises the ParleyError."""

    def __init__(self, conversation_id: str, client_message_id: str) -> None:
        self.conversation_id = conversation_id
        self.client_message_id = client_message_id
        self.result: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
        # Entered while the application awaits the result.
        self.while_awaited: Callable[[], AbstractContextManager[None]] = nullcontext

    def __await__(self) -> Generator[None, None, AppendResult]:
        with self.while_awaited():
            return (yield from asyncio.shield(self.result).__await__())

    def fail(self, error: ParleyError) -> None:
        """Set the error of the send. Retrieve it at once, so that asyncio does not warn if nobody awaits the send."""
        if not self.result.done():
            self.result.set_exception(error)
            self.result.exception()


class StreamProtocol:
    """The protocol state of a device across its streams. `wakeup` is set when there may be frames to write."""

    def __init__(self, inbox: Inbox, receipts: ReceiptTracker, send_queue: SendQueue, clock: ServerClock) -> None:
        self.inbox = inbox
        self.receipts = receipts
        self.send_queue = send_queue
        self.pacer = SendPacer()
        self.wakeup = asyncio.Event()
        self._send_removed = asyncio.Event()
        self.activity = chat_pb2.ACTIVITY_FOREGROUND
        # What the hello of the newest stream said.
        self._hello_activity = chat_pb2.ACTIVITY_FOREGROUND
        self.max_frame_bytes = 262_144
        self._clock = clock
        self._pending_sends: dict[str, PendingSend] = {}
        self._typing_notifier = TypingNotifier()
        self._typing_tracker = TypingTracker()
        self._typing_notices: dict[str, bool] = {}
        self._watched_user_ids: list[str] = []
        self._one_shot_frames: list[chat_pb2.ConnectRequest] = []
        # They tell the server which of several streams is the newest, also if one that was given up arrives late.
        self._instance_id = uuid.uuid4().hex
        self._stream_number = 0

    def start_hello(self, cursor: chat_pb2.Cursor | None) -> chat_pb2.Hello:
        """Return the hello of the next stream."""
        self._hello_activity = self.activity
        self._stream_number += 1
        return chat_pb2.Hello(
            cursor=cursor,
            activity=self.activity,
            instance_id=self._instance_id,
            stream_number=self._stream_number,
        )

    def start_stream(self, welcome: chat_pb2.Welcome) -> None:
        """Switch to a new stream: set its limits, and schedule everything without a reply again."""
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
        if self._hello_activity != self.activity:
            self._one_shot_frames.append(self.heartbeat_frame())
        self.wakeup.set()

    def handle_frame(self, frame: chat_pb2.ConnectResponse, now: float, *, current: bool) -> list[QueuedEvent]:
        """Handle a received frame and return its events. `current` is False for a frame of a retired stream."""
        kind = frame.WhichOneof("frame")
        self.wakeup.set()
        if kind == "entries":
            return self._handle_entries(frame.entries, now, current)
        if kind == "send_results":
            return [
                queued for each in frame.send_results.results for queued in self._handle_send_result(each, now, current)
            ]
        if kind == "watermarks":
            return self.inbox.handle_watermarks(frame.watermarks.watermarks)
        if kind == "changes":
            return self.inbox.handle_changes(frame.changes) if current else []
        if kind == "typing":
            notice = frame.typing
            changed = self._typing_tracker.apply_notice(notice.conversation_id, notice.user_id, notice.typing, now)
            return [QueuedEvent(changed)] if changed else []
        if kind == "presence":
            # The present stream tells it anew; a retired one could overwrite that with what it told before.
            return [QueuedEvent(PresenceChanged.from_proto(each)) for each in frame.presence.users] if current else []
        if kind == "error" and current:
            return [QueuedEvent(FrameRefused(from_status(frame.error.status)))]
        return []

    def send(self, request: chat_pb2.SendMessageRequest) -> PendingSend:
        """Queue a message. Raises SendQueueFull, and ContentTooLarge if it exceeds the frame size."""
        if request.ByteSize() > self.max_frame_bytes - 64:
            raise ContentTooLarge(
                f"the message exceeds {self.max_frame_bytes:,} bytes",
                code="INVALID_ARGUMENT",
                reason="CONTENT_TOO_LARGE",
            )
        self.send_queue.add(request)
        self._typing_notifier.message_sent(request.conversation_id)
        self._typing_notices.pop(request.conversation_id, None)
        pending_send = self._pending_sends.get(request.client_message_id)
        if pending_send is None:
            pending_send = PendingSend(request.conversation_id, request.client_message_id)
            self._pending_sends[request.client_message_id] = pending_send
        self.wakeup.set()
        return pending_send

    async def wait_for_room(self) -> None:
        """Wait until the send queue is not full, or no stream will follow."""
        while self.send_queue.is_full:
            self._send_removed.clear()
            await self._send_removed.wait()

    def expire_send(self, client_message_id: str) -> None:
        """Fail a send with TimedOut and never write it again; a send that has its final reply is ignored."""
        pending_send = self._pending_sends.pop(client_message_id, None)
        if pending_send and self.send_queue.cancel(client_message_id):
            pending_send.fail(TimedOut("no reply to the message in time", code="DEADLINE_EXCEEDED"))
            self._send_removed.set()
        self.wakeup.set()

    def fail_pending(self, error: ParleyError) -> None:
        """Fail all queued sends, because no stream will follow."""
        for queued_send in self.send_queue.clear():
            self._pending_sends.pop(queued_send.id).fail(error)
        self._send_removed.set()

    def tick(self, now: float) -> list[QueuedEvent]:
        """Run the periodic checks, once a second, and return expired typing indicators."""
        self.inbox.tick()
        self.receipts.tick()
        self.wakeup.set()
        return [QueuedEvent(changed) for changed in self._typing_tracker.expire(now)]

    def set_typing(self, conversation_id: str, typing: bool, now: float) -> None:
        """Queue a typing notice if one is due; a newer notice replaces a queued one of the same conversation."""
        note = self._typing_notifier.start_typing if typing else self._typing_notifier.stop_typing
        if note(conversation_id, now):
            self._typing_notices[conversation_id] = typing
            self.wakeup.set()

    def watch_presence(self, user_ids: list[str]) -> None:
        """Watch the presence of these users, on this stream and all later ones."""
        self._watched_user_ids = user_ids
        self.enqueue_frame(self._watch_frame())

    def set_activity(self, activity: chat_pb2.Activity.ValueType) -> None:
        """Set whether the application is in the foreground, for this stream and all later ones, and tell it at once."""
        self.activity = activity
        self.enqueue_frame(self.heartbeat_frame())

    def heartbeat_frame(self) -> chat_pb2.ConnectRequest:
        """Return a heartbeat, which says whether the application is in the foreground."""
        return chat_pb2.ConnectRequest(heartbeat=chat_pb2.HeartbeatRequest(activity=self.activity))

    def enqueue_frame(self, frame: chat_pb2.ConnectRequest) -> None:
        """Queue a frame for the current stream only; a newer frame of the same kind replaces it."""
        kind = frame.WhichOneof("frame")
        self._one_shot_frames = [each for each in self._one_shot_frames if each.WhichOneof("frame") != kind] + [frame]
        self.wakeup.set()

    def take_frames(self, now: float) -> list[chat_pb2.ConnectRequest]:
        """Return the frames to write now, and count them as written."""
        frames, self._one_shot_frames = self._one_shot_frames, []
        if ranges := self.inbox.start_due_fetches(now):
            frames.append(chat_pb2.ConnectRequest(fetch=chat_pb2.Fetch(ranges=ranges)))
        if receipts := self.receipts.take_due():
            frames.append(chat_pb2.ConnectRequest(receipts=chat_pb2.UpdateReceiptsRequest(receipts=receipts)))
        notices, self._typing_notices = self._typing_notices, {}
        for conversation_id, typing in notices.items():
            notice = chat_pb2.SetTypingRequest(conversation_id=conversation_id, typing=typing)
            frames.append(chat_pb2.ConnectRequest(typing=notice))
        return frames + self._take_sends(now)

    def time_until_due(self, now: float) -> float | None:
        """Return the seconds until postponed work becomes due; None: there is none."""
        due_times = [self.send_queue.next_due_time(now), self.inbox.catchup.next_due_time()]
        waits = [max(0.0, time - now) for time in due_times if time is not None]
        if self.send_queue.next_due_send(now) is not None:
            waits.append(self.pacer.time_until_available(now))
        return min(waits, default=None)

    def _take_sends(self, now: float) -> list[chat_pb2.ConnectRequest]:
        frames: list[chat_pb2.ConnectRequest] = []
        while (
            len(frames) < MAX_SENDS_PER_BATCH
            and (queued_send := self.send_queue.next_due_send(now))
            and self.pacer.try_acquire(now)
        ):
            self.send_queue.mark_written(queued_send)
            frames.append(chat_pb2.ConnectRequest(send_message=queued_send.request))
        return frames

    def _handle_entries(self, entries: chat_pb2.Entries, now: float, current: bool) -> list[QueuedEvent]:
        events: list[QueuedEvent] = []
        for queued in self.inbox.handle_entries(entries, now, current=current):
            event = queued.event
            if isinstance(event, EntryReceived) and event.entry.HasField("message_appended"):
                stopped = self._typing_tracker.stop_typing(event.conversation_id, event.actor_id)
                events += [QueuedEvent(stopped)] if stopped else []
            events.append(queued)
        return events

    def _handle_send_result(self, result: chat_pb2.SendResult, now: float, current: bool) -> list[QueuedEvent]:
        if result.HasField("appended"):
            self.inbox.note_head(result.conversation_id, result.appended.seq)
            pending_send = self._complete_send(result.client_message_id)
            if pending_send and not pending_send.result.done():
                pending_send.result.set_result(AppendResult.from_proto(result.appended))
            return []
        # The send is written again on the current stream, and the refusal there counts.
        return self._handle_refusal(result, from_status(result.refused), now) if current else []

    def _handle_refusal(self, result: chat_pb2.SendResult, error: ParleyError, now: float) -> list[QueuedEvent]:
        if error.retryable:
            if error.reason == "RATE_LIMITED":
                self.pacer.empty()
            self.send_queue.postpone(result.client_message_id, error.retry_after, now)
            return []
        pending_send = self._complete_send(result.client_message_id)
        if pending_send is None:
            return []
        pending_send.fail(error)
        return [QueuedEvent(SendRefused(result.conversation_id, result.client_message_id, error))]

    def _complete_send(self, client_message_id: str) -> PendingSend | None:
        self.send_queue.complete(client_message_id)
        self._send_removed.set()
        return self._pending_sends.pop(client_message_id, None)

    def _watch_frame(self) -> chat_pb2.ConnectRequest:
        return chat_pb2.ConnectRequest(watch_presence=chat_pb2.WatchPresenceRequest(user_ids=self._watched_user_ids))

"""What is said on the streams of a device: frames in become events, what waits becomes frames out."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import UTC

from parley.chat.v1 import chat_pb2
from parley_client.clock import ServerClock
from parley_client.errors import InvalidRequest, ParleyError, TimedOut, from_status
from parley_client.events import EntryReceived, FrameRefused, PresenceChanged, SendRefused
from parley_client.inbox import Inbox, Item
from parley_client.messages import Sent
from parley_client.send_pacer import Pacing
from parley_client.send_queue import Outgoing
from parley_client.typing_indicators import Keystrokes, Typists
from parley_client.watermarks import Receipts

# Sends taken at once before anything else gets its turn.
SENDS = 32


class Sending:
    """A message on its way. Awaiting it gives Sent, or raises the ParleyError it was refused with."""

    def __init__(self, conversation_id: str, client_message_id: str) -> None:
        self.conversation_id = conversation_id
        self.client_message_id = client_message_id
        self.answer: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()

    def __await__(self) -> Generator[None, None, Sent]:
        return asyncio.shield(self.answer).__await__()

    def fail(self, error: ParleyError) -> None:
        """It has come to nothing; whoever awaits it learns why, and nobody has to."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()


class Dialogue:
    """The state of a device that outlives its streams. `wake` is set when there may be something to write."""

    def __init__(self, inbox: Inbox, receipts: Receipts, outgoing: Outgoing, clock: ServerClock) -> None:
        self.inbox = inbox
        self.receipts = receipts
        self.outgoing = outgoing
        self.pacing = Pacing()
        self.wake = asyncio.Event()
        self.activity = chat_pb2.ACTIVITY_FOREGROUND
        self.frame_bytes = 262_144
        self._clock = clock
        self._sendings: dict[str, Sending] = {}
        self._keystrokes = Keystrokes()
        self._typists = Typists()
        self._typing: dict[str, bool] = {}
        self._watched: list[str] = []
        self._once: list[chat_pb2.ConnectRequest] = []

    def welcome(self, welcome: chat_pb2.Welcome) -> None:
        """A new stream takes over: what had no answer is said again on it."""
        self._clock.heard(welcome.server_time.ToMilliseconds() / 1000)
        limits = welcome.limits
        self.pacing.limit(limits.sends_per_second, limits.sends_burst)
        self.frame_bytes = limits.frame_bytes or self.frame_bytes
        self.inbox.range_entries = limits.range_entries or self.inbox.range_entries
        self.inbox.catchup.ranges = limits.fetch_ranges or self.inbox.catchup.ranges
        self.inbox.new_stream()
        self.receipts.welcome()
        self.outgoing.new_stream()
        self._once = [self._watch_frame()] if self._watched else []
        self.wake.set()

    def take(self, frame: chat_pb2.ConnectResponse, now: float, *, current: bool) -> list[Item]:
        """A frame came; `current` False: on a stream that is being left."""
        kind = frame.WhichOneof("frame")
        self.wake.set()
        if kind == "entries":
            return self._entries(frame.entries, now, current)
        if kind == "send_results":
            return [item for each in frame.send_results.results for item in self._result(each, now, current)]
        if kind == "watermarks":
            return self.inbox.marks(frame.watermarks.watermarks)
        if kind == "changes":
            return self.inbox.changes(frame.changes) if current else []
        if kind == "typing":
            told = frame.typing
            changed = self._typists.heard(told.conversation_id, told.user_id, told.typing, now)
            return [Item(changed)] if changed else []
        if kind == "presence":
            return [Item(_presence(each)) for each in frame.presence.users]
        if kind == "error" and current:
            return [Item(FrameRefused(from_status(frame.error.status)))]
        return []

    def send(self, request: chat_pb2.SendMessageRequest) -> Sending:
        """Put a message into its lane. Raises SendQueueFull and InvalidRequest."""
        if request.ByteSize() > self.frame_bytes - 64:
            raise InvalidRequest(
                f"a message may have {self.frame_bytes:,} bytes at most",
                code="INVALID_ARGUMENT",
                reason="CONTENT_TOO_LARGE",
            )
        self.outgoing.add(request)
        self._keystrokes.sent(request.conversation_id)
        self._typing.pop(request.conversation_id, None)
        sending = self._sendings.get(request.client_message_id)
        if sending is None:
            sending = Sending(request.conversation_id, request.client_message_id)
            self._sendings[request.client_message_id] = sending
        self.wake.set()
        return sending

    def expire(self, client_message_id: str) -> None:
        """The time for a send is over; it is not written again."""
        sending = self._sendings.pop(client_message_id, None)
        if sending and self.outgoing.withdraw(client_message_id):
            sending.fail(TimedOut("no answer to the message in time", code="DEADLINE_EXCEEDED"))
        self.wake.set()

    def give_up(self, error: ParleyError) -> None:
        """No stream will follow: all that waits comes to nothing."""
        for pending in self.outgoing.clear():
            self._sendings.pop(pending.id).fail(error)

    def tick(self, now: float) -> list[Item]:
        """A second has passed."""
        self.inbox.tick()
        self.receipts.tick()
        self.wake.set()
        return [Item(changed) for changed in self._typists.expired(now)]

    def typing(self, conversation_id: str, typing: bool, now: float) -> None:
        """Tell the others, unless they know; only the newest word about a conversation waits."""
        news = self._keystrokes.typed if typing else self._keystrokes.stopped
        if news(conversation_id, now):
            self._typing[conversation_id] = typing
            self.wake.set()

    def watch(self, user_ids: list[str]) -> None:
        """Watch these users, on this stream and the next ones."""
        self._watched = user_ids
        self.once(self._watch_frame())

    def once(self, frame: chat_pb2.ConnectRequest) -> None:
        """Say something on the current stream only; a newer frame of its kind takes its place."""
        kind = frame.WhichOneof("frame")
        self._once = [each for each in self._once if each.WhichOneof("frame") != kind] + [frame]
        self.wake.set()

    def frames(self, now: float) -> list[chat_pb2.ConnectRequest]:
        """What to write now; it counts as written."""
        frames, self._once = self._once, []
        if ranges := self.inbox.ranges(now):
            frames.append(chat_pb2.ConnectRequest(fetch=chat_pb2.Fetch(ranges=ranges)))
        if receipts := self.receipts.due():
            frames.append(chat_pb2.ConnectRequest(receipts=chat_pb2.UpdateReceiptsRequest(receipts=receipts)))
        typing, self._typing = self._typing, {}
        for conversation_id, on in typing.items():
            told = chat_pb2.SetTypingRequest(conversation_id=conversation_id, typing=on)
            frames.append(chat_pb2.ConnectRequest(typing=told))
        return frames + self._sends(now)

    def wait(self, now: float) -> float | None:
        """Seconds until something that is postponed becomes due; None: nothing is."""
        moments = [self.outgoing.next_due(now), self.inbox.catchup.next_due()]
        waits = [max(0.0, at - now) for at in moments if at is not None]
        if self.outgoing.due(now) is not None:
            waits.append(self.pacing.wait(now))
        return min(waits, default=None)

    def _sends(self, now: float) -> list[chat_pb2.ConnectRequest]:
        frames: list[chat_pb2.ConnectRequest] = []
        while len(frames) < SENDS and (pending := self.outgoing.due(now)) and self.pacing.take(now):
            self.outgoing.written(pending)
            frames.append(chat_pb2.ConnectRequest(send_message=pending.request))
        return frames

    def _entries(self, entries: chat_pb2.Entries, now: float, current: bool) -> list[Item]:
        items: list[Item] = []
        for item in self.inbox.entries(entries, now, current=current):
            event = item.event
            if isinstance(event, EntryReceived) and event.entry.HasField("message_appended"):
                stopped = self._typists.stopped(event.conversation_id, event.actor_id)
                items += [Item(stopped)] if stopped else []
            items.append(item)
        return items

    def _result(self, result: chat_pb2.SendResult, now: float, current: bool) -> list[Item]:
        if result.HasField("appended"):
            self.inbox.hear_of(result.conversation_id, result.appended.seq)
            self.outgoing.settle(result.client_message_id)
            sending = self._sendings.pop(result.client_message_id, None)
            if sending and not sending.answer.done():
                sending.answer.set_result(Sent.of(result.appended))
            return []
        # The stream that took over has been given the same send: its answer counts.
        return self._refused(result, from_status(result.refused), now) if current else []

    def _refused(self, result: chat_pb2.SendResult, error: ParleyError, now: float) -> list[Item]:
        if error.retryable:
            if error.reason == "RATE_LIMITED":
                self.pacing.empty()
            self.outgoing.postpone(result.client_message_id, error.retry_after, now)
            return []
        self.outgoing.settle(result.client_message_id)
        sending = self._sendings.pop(result.client_message_id, None)
        if sending is None:
            return []
        sending.fail(error)
        return [Item(SendRefused(result.conversation_id, result.client_message_id, error))]

    def _watch_frame(self) -> chat_pb2.ConnectRequest:
        return chat_pb2.ConnectRequest(watch_presence=chat_pb2.WatchPresenceRequest(user_ids=self._watched))


def _presence(told: chat_pb2.UserPresence) -> PresenceChanged:
    seen = told.last_seen_time.ToDatetime(tzinfo=UTC) if told.HasField("last_seen_time") else None
    return PresenceChanged(told.user_id, told.online, seen)

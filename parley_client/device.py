"""The device: a reconnecting stream of events, with a checkpoint in every conversation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from parley.chat.v1 import chat_pb2
from parley.chat.v1.entry_pb2 import Content
from parley_client.channel import Channel, timed_out
from parley_client.clock import ServerClock
from parley_client.connection import Connection
from parley_client.contents import as_content, media
from parley_client.errors import ParleyError, TryLater
from parley_client.event_handlers import E, EventHandlers, H
from parley_client.event_queue import MAX_QUEUED_EVENTS, EventQueue
from parley_client.events import EntryReceived, Event
from parley_client.inbox import Inbox, LogCheckpoint, QueuedEvent
from parley_client.live_view import LiveView
from parley_client.media.progress import ProgressCallback
from parley_client.message import Message
from parley_client.messages import AppendResult, Messages
from parley_client.send_queue import SendQueue
from parley_client.session import DeviceState, SessionStore
from parley_client.stream_protocol import PendingSend, StreamProtocol
from parley_client.tokens import TokenSource
from parley_client.tracing import end_send, start_send
from parley_client.watermarks import ReceiptTracker

T = TypeVar("T")

# Minimum seconds between two writes of the state, so that a busy device does not write its file at every event.
SAVE_INTERVAL_S = 0.5


class Device:
    """A device, used as `async with`. Iterating it yields its events in order; `run` does so for handlers alone.

    Each event first updates the views of the client, then goes to the handlers of `on` and `on_message`, then to the
    iteration. The iteration ends when the device is closed. If the connection ends for good, it raises the error:
    SignedOut if the device was signed out, Superseded if another program opened a stream with the same session,
    WrongDoor if another program moved the session to another door.

    An event is committed when the next one is requested: a program that ends in between receives it again. If the
    application does not iterate, the device stops reading once `MAX_QUEUED_EVENTS` are queued. With `listen` False,
    for a program that only sends, events are discarded and the stored state does not advance.
    """

    def __init__(
        self,
        channel: Channel,
        tokens: TokenSource,
        store: SessionStore,
        clock: ServerClock,
        *,
        repair: bool = True,
        history_from_start: bool = True,
        listen: bool = True,
        home_hint: str | None = None,
        capacity: int = MAX_QUEUED_EVENTS,
        calls: Messages,
        views: Mapping[str, LiveView],
    ) -> None:
        self._calls = calls
        self._tokens = tokens
        self.user_id = tokens.active_session.user_id
        self._handlers = EventHandlers(self.user_id, views)
        self.device_id = tokens.active_session.device_id
        self._store = store
        self._state = store.load_state()
        self._listen = listen
        self._clock = clock
        self._receipts = ReceiptTracker(self._state.unconfirmed)
        self._inbox = Inbox(
            self.user_id, self._state, self._receipts, repair=repair, history_from_start=history_from_start
        )
        self._protocol = StreamProtocol(self._inbox, self._receipts, SendQueue(), clock)
        self._events = EventQueue(capacity) if listen else EventQueue(capacity=1 << 62)
        self._connection = Connection(
            channel, tokens, self._protocol, self._events, lambda: self._state.cursor, home_hint
        )
        self._uncommitted: QueuedEvent | None = None
        self._dirty = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Device:
        coroutines = [self._run(), self._save(), *([] if self._listen else [self._discard()])]
        self._tasks = [asyncio.create_task(each) for each in coroutines]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._events.close()
        self._protocol.fail_pending(TryLater("the device was closed before the reply", code="UNAVAILABLE"))
        await self._store_state()
        for result in results:
            if isinstance(result, Exception) and error is None:
                raise result

    def __aiter__(self) -> Device:
        """Return the device. Raises RuntimeError if it was opened with `listen` False, because it has no events."""
        if not self._listen:
            raise RuntimeError("the device discards its events; open it without listen=False to receive them")
        return self

    async def __anext__(self) -> Event:
        while True:
            self._commit()
            self._uncommitted = queued = await self._events.get()
            if queued is None:
                raise self._connection.end or StopAsyncIteration
            if (event := queued.event) is None:
                continue
            if isinstance(event, EntryReceived):
                self._mark_delivered(event)
                event = replace(event, calls=self._calls)
            await self._handlers.handle(event)
            return event

    async def run(self) -> None:
        """Handle events until the device is closed.

        Raises the error that ended the connection for good, as the iteration does, and any error of a handler.
        """
        async for _ in self:
            pass

    def on(self, kind: type[E]) -> Callable[[Callable[[E], H]], Callable[[E], H]]:
        """Return a decorator: the function, which may be async, is called with each event of the class `kind`."""
        return lambda handler: self._handlers.add(kind, handler)

    def on_message(self, handler: Callable[[Message], H]) -> Callable[[Message], H]:
        """Decorate a function, which may be async: it is called with each message of another user."""
        return self._handlers.add_for_messages(handler)

    @property
    def home(self) -> str:
        """The user's home ("host:port") by the newest welcome; empty before the first one."""
        return self._connection.stream.welcome.home if self._connection.stream else ""

    @property
    def connected(self) -> bool:
        """True while a stream is open."""
        return self._connection.is_connected

    @property
    def silent_for_s(self) -> float:
        """The seconds for which the server has sent nothing although it owes the answer to a heartbeat; 0 otherwise.

        `set_foreground` sends a heartbeat at once: if the value grows after that, the network is slow.
        """
        return self._connection.stream.silent_for_s if self.connected and self._connection.stream else 0.0

    async def wait_connected(self, timeout_s: float = 10.0) -> None:
        """Wait for an open stream. Raises TimedOut; SignedOut or Superseded if there will be none."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connection.settled.wait()
        except TimeoutError:
            raise timed_out("hello", timeout_s) from None
        if self._connection.end is not None:
            raise self._connection.end

    def send(
        self,
        conversation_id: str,
        content: str | Content,
        *,
        reply_to_seq: int = 0,
        client_message_id: str | None = None,
        timeout_s: float | None = None,
    ) -> PendingSend:
        """Queue a message; awaiting the PendingSend returns `AppendResult(seq, time)` or raises ParleyError.

        The message is sent again, in order, until it has a final reply, or until `timeout_s` seconds have passed; the
        result is then TimedOut, and the message may have been appended. `reply_to_seq` is the message it replies to.
        Raises SendQueueFull immediately if 1,000 messages are queued (see `wait_for_room` and `send_many`), SignedOut
        or Superseded if the connection has ended by it, and RuntimeError outside of the `async with` block of the
        device.
        """
        if self._connection.end is not None:
            raise self._connection.end
        if not self._tasks:
            raise RuntimeError("the device is not open; send within its `async with` block")
        request = chat_pb2.SendMessageRequest(
            client_message_id=client_message_id or self._clock.new_id(),
            conversation_id=conversation_id,
            content=as_content(content, reply_to_seq),
        )
        pending = self._protocol.send(request)
        if (span := start_send(request)) is not None:
            pending.result.add_done_callback(partial(end_send, span))
        pending.while_awaited = self._events.overflow
        if timeout_s is not None:
            loop = asyncio.get_running_loop()
            expiry = loop.call_later(timeout_s, self._protocol.expire_send, pending.client_message_id)
            pending.result.add_done_callback(lambda _: expiry.cancel())
        return pending

    async def send_file(
        self,
        conversation_id: str,
        path: Path | str,
        *,
        caption: str = "",
        file_name: str | None = None,
        content_type: str = "",
        waveform: bytes = b"",
        reply_to_seq: int = 0,
        on_progress: ProgressCallback | None = None,
    ) -> AppendResult:
        """Upload a file as `Files.upload` does, then send a message with it, and wait for its result.

        Raises OSError too, and what `send` raises. Messages that are sent during the upload come first.
        """
        if self._connection.stream is not None:
            self._calls.files.set_limits(self._connection.stream.welcome.limits)
        file = await self._calls.files.upload(
            path, file_name=file_name, content_type=content_type, waveform=waveform, on_progress=on_progress
        )
        await self.wait_for_room()
        return await self.send(conversation_id, media(file, caption), reply_to_seq=reply_to_seq)

    async def send_many(
        self, conversation_id: str, contents: Iterable[str | Content] | AsyncIterable[str | Content]
    ) -> list[AppendResult]:
        """Send messages in order, and wait for room in the send queue; return their results in the same order.

        A refused message does not keep the later ones from being sent; the first error is raised once all have their
        results. Raises SignedOut or Superseded if the connection ends for good.
        """
        pending: list[PendingSend] = []
        async for content in _iterate(contents):
            await self.wait_for_room()
            pending.append(self.send(conversation_id, content))
        with self._events.overflow():
            for each in pending:
                await asyncio.wait([each.result])
        return [each.result.result() for each in pending]

    async def wait_for_room(self) -> None:
        """Wait until the send queue has room for a message, so that `send` does not raise SendQueueFull."""
        with self._events.overflow():
            await self._protocol.wait_for_room()

    def mark_read(self, conversation_id: str, seq: int) -> None:
        """Mark everything up to `seq` as read by the user."""
        if self._receipts.advance(conversation_id, read=seq):
            self._receipts_changed()

    def refresh(self, conversation_id: str) -> None:
        """Fetch a conversation now. Its missing entries follow, then ConversationChecked or ConversationGone."""
        self._inbox.catchup.request_fetch(conversation_id)
        self._protocol.wakeup.set()

    def set_typing(self, conversation_id: str, typing: bool = True) -> None:
        """Report a keystroke, or with False that the user stopped typing. Members receive at most one notice in 3 s."""
        self._protocol.set_typing(conversation_id, typing, asyncio.get_running_loop().time())

    def watch_presence(self, user_ids: Iterable[str]) -> None:
        """Watch the presence of these users, at most 1,000, on this stream and all later ones.

        They replace the users watched before. A PresenceChanged follows for each of them, and again on each new stream:
        while there is none, changes are not reported.
        """
        self._protocol.watch_presence(list(dict.fromkeys(user_ids)))

    def set_foreground(self, foreground: bool) -> None:
        """Report at once whether the application is in the foreground; a new device is.

        Called before the `async with` block, it holds from the first stream on. The user is online while a device is in
        the foreground. A device in the background sends fewer heartbeats, by default one in 60 s instead of one in 4 s,
        and may notice as late that the server does not answer.
        """
        self._protocol.set_activity(chat_pb2.ACTIVITY_FOREGROUND if foreground else chat_pb2.ACTIVITY_BACKGROUND)

    def watermark(self, conversation_id: str, user_id: str) -> tuple[int, int]:
        """Return the known (delivered_seq, read_seq) of a member; (0, 0) if none is known."""
        return self._inbox.watermarks.get(conversation_id, user_id)

    def last_seq(self, conversation_id: str) -> int:
        """Return the seq up to which the device has the conversation without a gap."""
        return self._inbox.last_seq(conversation_id)

    def _mark_delivered(self, event: EntryReceived) -> None:
        if self._receipts.advance(event.conversation_id, delivered=event.seq):
            self._receipts_changed()

    def _commit(self) -> None:
        checkpoint = self._uncommitted.checkpoint if self._uncommitted else None
        if isinstance(checkpoint, LogCheckpoint):
            self._state.last_seqs[checkpoint.conversation_id] = checkpoint.last_seq
        elif checkpoint is not None:
            self._state.cursor = checkpoint
        if checkpoint is not None:
            self._dirty.set()
        self._uncommitted = None

    def _receipts_changed(self) -> None:
        self._protocol.wakeup.set()
        self._dirty.set()

    async def _run(self) -> None:
        end: ParleyError = TryLater("the device stopped", code="UNAVAILABLE")
        try:
            end = await self._connection.run()
        finally:
            # On any error too, pending sends and event readers must not wait for a stream that will not come.
            self._events.close()
            self._protocol.fail_pending(end)

    async def _discard(self) -> None:
        while await self._events.get() is not None:
            pass

    async def _save(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._store_state()
            await asyncio.sleep(SAVE_INTERVAL_S)

    async def _store_state(self) -> None:
        """Store the state, unless the session has ended: a later session's must not be replaced."""
        session = self._tokens.session
        if session is not None and session.device_id == self.device_id:
            await asyncio.to_thread(self._store.save_state, self._state_snapshot())

    def _state_snapshot(self) -> DeviceState:
        cursor, seqs = self._state.cursor, dict(self._state.last_seqs)
        return DeviceState(cursor, seqs, self._receipts.unconfirmed())


async def _iterate(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item

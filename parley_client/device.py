"""A device: it stays connected, keeps its place in every conversation, and tells what happens as events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType

from parley.chat.v1 import chat_pb2
from parley.chat.v1.entry_pb2 import Content
from parley_client.channel import Channel, timed_out
from parley_client.clock import ServerClock
from parley_client.connection import Connection
from parley_client.contents import as_content
from parley_client.errors import TryLater
from parley_client.event_queue import MAX_QUEUED_EVENTS, EventQueue
from parley_client.events import EntryReceived, Event
from parley_client.inbox import Inbox, LogCheckpoint, QueuedEvent
from parley_client.send_queue import SendQueue
from parley_client.session import DeviceState, SessionStore
from parley_client.stream_protocol import PendingSend, StreamProtocol
from parley_client.tokens import TokenSource
from parley_client.watermarks import ReceiptTracker

# State is written this long after it changed, at the latest, so that a busy device writes its file rarely.
SAVE_INTERVAL_S = 0.5


class Device:
    """Used as `async with`; iterating it gives the events, in order, for ever or until the connection is ended.

    An event counts as taken when the next one is asked for: a program that dies in between is given it again.
    Whoever does not iterate makes the device stop reading once `CAPACITY` events wait; a program that only
    sends says `listen=False`, and neither gets events nor moves the place where the next run goes on.
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
    ) -> None:
        self.user_id = tokens.active_session.user_id
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
        jobs = [self._run(), self._save(), *([] if self._listen else [self._discard()])]
        self._tasks = [asyncio.create_task(job) for job in jobs]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._events.close()
        self._protocol.fail_pending(TryLater("the device was closed before an answer came", code="UNAVAILABLE"))
        await asyncio.to_thread(self._store.save_state, self._state_snapshot())
        for result in results:
            if isinstance(result, Exception) and error is None:
                raise result

    def __aiter__(self) -> Device:
        return self

    async def __anext__(self) -> Event:
        while True:
            self._commit()
            self._uncommitted = item = await self._events.get()
            if item is None:
                raise StopAsyncIteration
            if item.event is not None:
                if isinstance(item.event, EntryReceived):
                    self._mark_delivered(item.event)
                return item.event

    @property
    def home(self) -> str:
        """Where the user's home is ("host:port"), as the newest welcome said; empty before the first."""
        return self._connection.stream.welcome.home if self._connection.stream else ""

    @property
    def connected(self) -> bool:
        """Whether a stream is open."""
        return self._connection.connected.is_set()

    async def wait_connected(self, timeout_s: float = 10.0) -> None:
        """Wait for an open stream. Raises TimedOut."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connection.connected.wait()
        except TimeoutError:
            raise timed_out("hello", timeout_s) from None

    def send(
        self,
        conversation_id: str,
        content: str | Content,
        *,
        reply_to_seq: int = 0,
        client_message_id: str | None = None,
        timeout_s: float | None = None,
    ) -> PendingSend:
        """Send a message; awaiting the result gives `Sent(seq, time)` or raises ParleyError.

        It is kept and sent again, in order, until it is answered; `seconds` bounds that (TimedOut, and whether it
        was appended is then not known). `reply_to_seq` is the message it answers. Raises SendQueueFull at once when
        1,000 messages wait already.
        """
        request = chat_pb2.SendMessageRequest(
            client_message_id=client_message_id or self._clock.new_id(),
            conversation_id=conversation_id,
            content=as_content(content, reply_to_seq),
        )
        sending = self._protocol.send(request)
        if timeout_s is not None:
            loop = asyncio.get_running_loop()
            expiry = loop.call_later(timeout_s, self._protocol.expire_send, sending.client_message_id)
            sending.result.add_done_callback(lambda _: expiry.cancel())
        return sending

    def mark_read(self, conversation_id: str, seq: int) -> None:
        """The user has read everything up to `seq`."""
        if self._receipts.advance(conversation_id, read=seq):
            self._receipts_changed()

    def refresh(self, conversation_id: str) -> None:
        """Look at a conversation now: answered by what is missing, and ConversationChecked or -Gone."""
        self._inbox.catchup.request_fetch(conversation_id)
        self._protocol.wakeup.set()

    def set_typing(self, conversation_id: str, typing: bool = True) -> None:
        """To be called at each keystroke: the others are told at most every 3 s. False: the user stopped."""
        self._protocol.set_typing(conversation_id, typing, asyncio.get_running_loop().time())

    def watch_presence(self, user_ids: Iterable[str]) -> None:
        """Be told when these users come and go (at most 1,000, in place of those before)."""
        self._protocol.watch_presence(list(dict.fromkeys(user_ids)))

    def set_foreground(self, foreground: bool) -> None:
        """Tell whether the application is in front of its user."""
        activity = chat_pb2.ACTIVITY_FOREGROUND if foreground else chat_pb2.ACTIVITY_BACKGROUND
        self._protocol.activity = activity
        beat = chat_pb2.HeartbeatRequest(activity=activity)
        self._protocol.enqueue_frame(chat_pb2.ConnectRequest(heartbeat=beat))

    def watermark(self, conversation_id: str, user_id: str) -> tuple[int, int]:
        """(delivered_seq, read_seq) of a member, as far as this device knows."""
        return self._inbox.watermarks.get(conversation_id, user_id)

    def last_seq(self, conversation_id: str) -> int:
        """How far the device has put the conversation together, without a gap."""
        return self._inbox.last_seq(conversation_id)

    def _mark_delivered(self, event: EntryReceived) -> None:
        if self._receipts.advance(event.conversation_id, delivered=event.seq):
            self._receipts_changed()

    def _commit(self) -> None:
        reached = self._uncommitted.checkpoint if self._uncommitted else None
        if isinstance(reached, LogCheckpoint):
            self._state.last_seqs[reached.conversation_id] = reached.last_seq
        elif reached is not None:
            self._state.cursor = reached
        if reached is not None:
            self._dirty.set()
        self._uncommitted = None

    def _receipts_changed(self) -> None:
        self._protocol.wakeup.set()
        self._dirty.set()

    async def _run(self) -> None:
        try:
            await self._connection.run()
        finally:
            # Whatever ended it, nobody waits for what cannot come.
            self._events.close()
            self._protocol.fail_pending(TryLater("the device stopped", code="UNAVAILABLE"))

    async def _discard(self) -> None:
        while await self._events.get() is not None:
            pass

    async def _save(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await asyncio.to_thread(self._store.save_state, self._state_snapshot())
            await asyncio.sleep(SAVE_INTERVAL_S)

    def _state_snapshot(self) -> DeviceState:
        cursor, seqs = self._state.cursor, dict(self._state.last_seqs)
        return DeviceState(cursor, seqs, self._receipts.unconfirmed())

"""The connection of a device: one open stream at a time, reopened after errors, drains and token renewals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from parley.chat.v1 import chat_pb2
from parley_client.backoff import Backoff
from parley_client.channel import Channel, timed_out
from parley_client.connect_stream import ConnectStream, DrainRequested, RenewalNeeded, ReplacementReason
from parley_client.errors import (
    ParleyError,
    SignedOut,
    Superseded,
    TimedOut,
    TryLater,
    Unauthenticated,
    WrongDoor,
    from_status,
)
from parley_client.event_queue import EventQueue
from parley_client.events import ConnectionChanged, ConnectionState
from parley_client.inbox import QueuedEvent
from parley_client.stream_protocol import StreamProtocol
from parley_client.tokens import TokenSource

# Seconds after which an open stream resets the backoff.
STABLE_AFTER_S = 3.0
# Seconds for which a retired stream may still deliver outstanding replies.
RETIRED_STREAM_TIMEOUT_S = 5.0
# Seconds for which the last stream may still deliver outstanding replies.
FINAL_REPLIES_TIMEOUT_S = 1.0
MONITOR_INTERVAL_S = 1.0
# The errors that end the connection. WrongDoor: another program has moved the session to another door.
FinalError = SignedOut | Superseded | WrongDoor


class Connection:
    """The consecutive streams of one device. `home_hint` replaces the user's home in `x-chat-server`."""

    def __init__(
        self,
        channel: Channel,
        tokens: TokenSource,
        protocol: StreamProtocol,
        events: EventQueue,
        cursor: Callable[[], chat_pb2.Cursor | None],
        home_hint: str | None = None,
    ) -> None:
        self._channel = channel
        self._tokens = tokens
        self._protocol = protocol
        self._events = events
        self._cursor = cursor
        self._home_hint = home_hint
        self._backoff = Backoff()
        self._frame_lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._device_id = tokens.active_session.device_id
        # Set while a stream is open, and once the connection has ended.
        self.settled = asyncio.Event()
        self.stream: ConnectStream | None = None
        # The error that ended the connection for good.
        self.end: ParleyError | None = None

    @property
    def is_connected(self) -> bool:
        """True while a stream is open."""
        return self.end is None and self.settled.is_set()

    async def run(self) -> ParleyError:
        """Keep a stream open until a final error, and return it."""
        self._post_state(ConnectionState.CONNECTING)
        async with asyncio.TaskGroup() as serving:
            reason: ReplacementReason = RenewalNeeded()
            while not isinstance(reason, FinalError):
                stream = await self._open_next(reason)
                if isinstance(stream, ParleyError):
                    reason = stream
                    break
                await self._switch_to(stream)
                serving.create_task(self._serve(stream))
                reason = await asyncio.shield(stream.replacement_reason)
                if self._loop.time() - stream.open_time > STABLE_AFTER_S:
                    self._backoff.reset()
            await self._shut_down(reason)
        return reason

    async def _open_next(self, reason: ReplacementReason) -> ConnectStream | FinalError:
        """Open the next stream, with unlimited attempts; return the error if there will be none."""
        while True:
            await self._wait_before_open(reason)
            try:
                return await self._open()
            except ParleyError as error:
                if isinstance(error, FinalError):
                    return error
                reason = error

    async def _wait_before_open(self, reason: ReplacementReason) -> None:
        if isinstance(reason, ParleyError):
            self.settled.clear()
            delay_s = self._backoff.next(reason.retry_after)
            self._post_state(ConnectionState.RECONNECTING, error=reason, retry_in=delay_s)
            await asyncio.sleep(delay_s)
        elif isinstance(reason, DrainRequested) and self.stream:
            self._tokens.set_home(reason.home)
            await self._wait_event(self.stream.closed, reason.delay_s)

    async def _open(self) -> ConnectStream:
        token = await self._tokens.access_token()
        home = self._tokens.active_session.home if self._home_hint is None else self._home_hint
        hello = self._protocol.start_hello(self._cursor())
        try:
            return await ConnectStream.open(self._channel, token, home, hello)
        except SignedOut:
            raise
        except Unauthenticated:
            await self._tokens.renew_token(token)
            raise
        except TimedOut:
            await self._channel.reset()
            raise

    async def _switch_to(self, stream: ConnectStream) -> None:
        previous, self.stream = self.stream, stream
        if previous:
            await previous.retire()
        self._tokens.set_home(stream.welcome.home)
        self._protocol.start_stream(stream.welcome)
        self.settled.set()
        self._post_state(ConnectionState.CONNECTED, home=stream.welcome.home)

    async def _serve(self, stream: ConnectStream) -> None:
        writing = asyncio.create_task(self._write(stream))
        monitoring = asyncio.create_task(self._monitor(stream))
        try:
            stream.request_replacement(await self._read(stream))
        finally:
            stream.closed.set()
            stream.cancel()
            writing.cancel()
            monitoring.cancel()
            await asyncio.gather(writing, monitoring, return_exceptions=True)

    async def _read(self, stream: ConnectStream) -> ParleyError:
        try:
            while (frame := await stream.read()) is not None:
                await self._handle_frame(stream, frame)
        except ParleyError as error:
            return error
        return TryLater("the stream ended", code="UNAVAILABLE")

    async def _handle_frame(self, stream: ConnectStream, frame: chat_pb2.ConnectResponse) -> None:
        if frame.HasField("drain"):
            delay_s = frame.drain.delay.ToMilliseconds() / 1000
            stream.request_replacement(DrainRequested(delay_s, frame.drain.home))
        elif frame.HasField("error") and frame.error.final:
            stream.request_replacement(from_status(frame.error.status))
        else:
            # A retired stream may be read at the same time; the events of one frame must stay together.
            async with self._frame_lock:
                events = self._protocol.handle_frame(frame, self._loop.time(), current=not stream.retired)
                if events:
                    await self._events.put(events)

    async def _write(self, stream: ConnectStream) -> None:
        while not stream.retired:
            self._protocol.wakeup.clear()
            now = self._loop.time()
            frames = self._protocol.take_frames(now)
            heartbeat_in_s = stream.time_until_heartbeat(self._protocol.activity)
            if heartbeat_in_s <= 0:
                frames.append(self._protocol.heartbeat_frame())
            for frame in frames:
                if not await stream.write(frame):
                    return
            if self._protocol.send_queue.needs_new_stream:
                stream.request_replacement(RenewalNeeded())
            if not frames:
                timeout_s = min([heartbeat_in_s, *_optional(self._protocol.time_until_due(now))])
                await self._wait_event(self._protocol.wakeup, timeout_s)

    @staticmethod
    async def _wait_event(event: asyncio.Event, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await event.wait()

    async def _monitor(self, stream: ConnectStream) -> None:
        """Check the stream every second: heartbeats, retirement, logs behind their head, and the token's expiry."""
        while True:
            await asyncio.sleep(min(MONITOR_INTERVAL_S, stream.answer_timeout_s / 6))
            if stream.is_dead() and not stream.retired:
                stream.request_replacement(timed_out("heartbeats", stream.answer_timeout_s))
                await self._channel.reset()
            elif (
                stream.retired and self.stream and self._loop.time() - self.stream.open_time > RETIRED_STREAM_TIMEOUT_S
            ):
                stream.cancel()
            elif not stream.retired:
                for event in self._protocol.tick(self._loop.time()):
                    self._events.put_nowait(event)
                await self._reauthenticate(stream)

    async def _reauthenticate(self, stream: ConnectStream) -> None:
        if self._tokens.time_until_renewal() > 0:
            return
        try:
            token = await self._tokens.access_token()
        except SignedOut as error:
            stream.request_replacement(error)
        except ParleyError:
            return  # retried at the next tick; the server keeps the stream for 30 s after the token expires
        else:
            request = chat_pb2.ReauthenticateRequest(access_token=token)
            self._protocol.enqueue_frame(chat_pb2.ConnectRequest(reauthenticate=request))

    async def _shut_down(self, reason: ParleyError) -> None:
        if isinstance(reason, SignedOut):
            await self._tokens.end_session(self._device_id, reason)
        self.end = reason
        self.settled.set()
        if self.stream:
            # The server delivers outstanding replies before it closes a superseded stream.
            await self._wait_event(self.stream.closed, FINAL_REPLIES_TIMEOUT_S)
            self.stream.cancel()
        self._protocol.fail_pending(reason)
        self._post_state(ConnectionState.ENDED, error=reason)
        self._events.close()

    def _post_state(
        self,
        state: ConnectionState,
        home: str = "",
        error: ParleyError | None = None,
        retry_in: float | None = None,
    ) -> None:
        self._events.put_nowait(QueuedEvent(ConnectionChanged(state, home, error, retry_in)))


def _optional(timeout_s: float | None) -> tuple[float, ...]:
    return () if timeout_s is None else (timeout_s,)

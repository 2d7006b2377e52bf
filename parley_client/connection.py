"""Keeps one stream of a device open: connects, reconnects, moves when asked, renews the token ahead of its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from parley.chat.v1 import chat_pb2
from parley_client.backoff import Backoff
from parley_client.channel import Channel, timed_out
from parley_client.connect_stream import ConnectStream, DrainRequested, RenewalNeeded, ReplacementReason
from parley_client.errors import ParleyError, SignedOut, Superseded, TimedOut, TryLater, Unauthenticated, from_status
from parley_client.event_queue import EventQueue
from parley_client.events import ConnectionChanged, ConnectionState
from parley_client.inbox import QueuedEvent
from parley_client.stream_protocol import StreamProtocol
from parley_client.tokens import TokenSource

# A link that lived so long went well: the next failure begins with short delays.
STABLE_AFTER_S = 3.0
# How long a left stream may take to deliver its outstanding answers.
RETIRED_STREAM_TIMEOUT_S = 5.0
# How long a stream that was ended for good may take for that.
FINAL_REPLIES_TIMEOUT_S = 1.0
MONITOR_INTERVAL_S = 1.0
HEARTBEAT = chat_pb2.ConnectRequest(heartbeat=chat_pb2.HeartbeatRequest())


class Connection:
    """The streams of one device, one after the other. `hint` replaces the home as `x-chat-server`."""

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
        self.connected = asyncio.Event()
        self.stream: ConnectStream | None = None

    async def run(self) -> ParleyError:
        """Until the connection is ended for good; gives the reason."""
        self._post_state(ConnectionState.CONNECTING)
        async with asyncio.TaskGroup() as links:
            why: ReplacementReason = RenewalNeeded()
            while not isinstance(why, SignedOut | Superseded):
                link = await self._open_next(why)
                if isinstance(link, ParleyError):
                    why = link
                    break
                await self._switch_to(link)
                links.create_task(self._serve(link))
                why = await asyncio.shield(link.replacement_reason)
                if self._loop.time() - link.open_time > STABLE_AFTER_S:
                    self._backoff.reset()
            await self._shut_down(why)
        return why

    async def _open_next(self, why: ReplacementReason) -> ConnectStream | SignedOut | Superseded:
        """The next stream, however long it takes, or why there will be none."""
        while True:
            await self._wait_before_open(why)
            try:
                return await self._open()
            except (SignedOut, Superseded) as error:
                return error
            except ParleyError as error:
                why = error

    async def _wait_before_open(self, why: ReplacementReason) -> None:
        if isinstance(why, ParleyError):
            self.connected.clear()
            delay = self._backoff.next(why.retry_after)
            self._post_state(ConnectionState.RECONNECTING, error=why, retry_in=delay)
            await asyncio.sleep(delay)
        elif isinstance(why, DrainRequested) and self.stream:
            self._tokens.set_home(why.home)
            await self._wait_event(self.stream.closed, why.delay_s)

    async def _open(self) -> ConnectStream:
        token = await self._tokens.access_token()
        home = self._tokens.active_session.home if self._home_hint is None else self._home_hint
        hello = chat_pb2.Hello(cursor=self._cursor(), activity=self._protocol.activity)
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

    async def _switch_to(self, link: ConnectStream) -> None:
        old, self.stream = self.stream, link
        if old:
            await old.retire()
        self._tokens.set_home(link.welcome.home)
        self._protocol.start_stream(link.welcome)
        self.connected.set()
        self._post_state(ConnectionState.CONNECTED, home=link.welcome.home)

    async def _serve(self, link: ConnectStream) -> None:
        writing = asyncio.create_task(self._write(link))
        watching = asyncio.create_task(self._monitor(link))
        try:
            link.request_replacement(await self._read(link))
        finally:
            link.closed.set()
            link.cancel()
            writing.cancel()
            watching.cancel()
            await asyncio.gather(writing, watching, return_exceptions=True)

    async def _read(self, link: ConnectStream) -> ParleyError:
        try:
            while (frame := await link.read()) is not None:
                await self._handle_frame(link, frame)
        except ParleyError as error:
            return error
        return TryLater("the stream ended", code="UNAVAILABLE")

    async def _handle_frame(self, link: ConnectStream, frame: chat_pb2.ConnectResponse) -> None:
        if frame.HasField("drain"):
            delay = frame.drain.delay.ToMilliseconds() / 1000
            link.request_replacement(DrainRequested(delay, frame.drain.home))
        elif frame.HasField("error") and frame.error.final:
            link.request_replacement(from_status(frame.error.status))
        else:
            # Two streams may be read while one takes over: what one frame brought stays together.
            async with self._frame_lock:
                items = self._protocol.handle_frame(frame, self._loop.time(), current=not link.retired)
                if items:
                    await self._events.put(items)

    async def _write(self, link: ConnectStream) -> None:
        while not link.retired:
            self._protocol.wakeup.clear()
            now = self._loop.time()
            frames = self._protocol.take_frames(now)
            beat_in = link.last_write_time + link.heartbeat_interval_s - now
            if not frames and beat_in <= 0:
                frames = [HEARTBEAT]
            for frame in frames:
                if not await link.write(frame):
                    return
            if self._protocol.send_queue.needs_new_stream:
                link.request_replacement(RenewalNeeded())
            if not frames:
                seconds = min([beat_in, *_some(self._protocol.time_until_due(now))])
                await self._wait_event(self._protocol.wakeup, seconds)

    @staticmethod
    async def _wait_event(event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    async def _monitor(self, link: ConnectStream) -> None:
        """Look once a second at what has no event of its own: silence, lost ends, the age of the token."""
        while True:
            await asyncio.sleep(min(MONITOR_INTERVAL_S, link.heartbeat_interval_s / 4))
            if link.is_dead():
                link.request_replacement(timed_out("heartbeats", link.heartbeat_interval_s))
                await self._channel.reset()
            elif link.retired and self.stream and self._loop.time() - self.stream.open_time > RETIRED_STREAM_TIMEOUT_S:
                link.cancel()
            elif not link.retired:
                for item in self._protocol.tick(self._loop.time()):
                    self._events.put_nowait(item)
                await self._reauthenticate(link)

    async def _reauthenticate(self, link: ConnectStream) -> None:
        if self._tokens.time_until_renewal() > 0:
            return
        try:
            token = await self._tokens.access_token()
        except SignedOut as error:
            link.request_replacement(error)
        except ParleyError:
            return  # the next tick asks again, and the stream lives 30 s longer than the token
        else:
            request = chat_pb2.ReauthenticateRequest(access_token=token)
            self._protocol.enqueue_frame(chat_pb2.ConnectRequest(reauthenticate=request))

    async def _shut_down(self, why: ParleyError) -> None:
        self.connected.clear()
        if self.stream:
            # The server delivers outstanding answers before it closes a stream that was taken over.
            await self._wait_event(self.stream.closed, FINAL_REPLIES_TIMEOUT_S)
            self.stream.cancel()
        self._protocol.fail_pending(why)
        self._post_state(ConnectionState.ENDED, error=why)
        self._events.close()

    def _post_state(
        self,
        state: ConnectionState,
        home: str = "",
        error: ParleyError | None = None,
        retry_in: float | None = None,
    ) -> None:
        self._events.put_nowait(QueuedEvent(ConnectionChanged(state, home, error, retry_in)))


def _some(seconds: float | None) -> tuple[float, ...]:
    return () if seconds is None else (seconds,)

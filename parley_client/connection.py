"""Keeps one stream of a device open: connects, reconnects, moves when asked, renews the token ahead of its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from parley.chat.v1 import chat_pb2
from parley_client.backoff import Backoff
from parley_client.channel import Door, too_late
from parley_client.connect_stream import Drained, Link, Parting, Renewed
from parley_client.errors import ParleyError, SignedOut, Superseded, TimedOut, TryLater, Unauthenticated, from_status
from parley_client.event_queue import Feed
from parley_client.events import ConnectionChanged, ConnectionState
from parley_client.inbox import Item
from parley_client.stream_protocol import Dialogue
from parley_client.tokens import Tokens

# A link that lived so long went well: the next failure begins with short delays.
STEADY = 3.0
# How long a left stream may take to deliver its outstanding answers.
LEAVING = 5.0
# How long a stream that was ended for good may take for that.
ANSWERS = 1.0
TICK = 1.0
HEARTBEAT = chat_pb2.ConnectRequest(heartbeat=chat_pb2.HeartbeatRequest())


class Line:
    """The streams of one device, one after the other. `hint` replaces the home as `x-chat-server`."""

    def __init__(
        self,
        door: Door,
        tokens: Tokens,
        dialogue: Dialogue,
        feed: Feed,
        cursor: Callable[[], chat_pb2.Cursor | None],
        hint: str | None = None,
    ) -> None:
        self._door = door
        self._tokens = tokens
        self._dialogue = dialogue
        self._feed = feed
        self._cursor = cursor
        self._hint = hint
        self._backoff = Backoff()
        self._reading = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self.connected = asyncio.Event()
        self.link: Link | None = None

    async def run(self) -> ParleyError:
        """Until the connection is ended for good; gives the reason."""
        self._tell(ConnectionState.CONNECTING)
        async with asyncio.TaskGroup() as links:
            why: Parting = Renewed()
            while not isinstance(why, SignedOut | Superseded):
                link = await self._next(why)
                if isinstance(link, ParleyError):
                    why = link
                    break
                await self._switch(link)
                links.create_task(self._serve(link))
                why = await asyncio.shield(link.parted)
                if self._loop.time() - link.opened > STEADY:
                    self._backoff.reset()
            await self._end(why)
        return why

    async def _next(self, why: Parting) -> Link | SignedOut | Superseded:
        """The next stream, however long it takes, or why there will be none."""
        while True:
            await self._wait(why)
            try:
                return await self._open()
            except (SignedOut, Superseded) as error:
                return error
            except ParleyError as error:
                why = error

    async def _wait(self, why: Parting) -> None:
        if isinstance(why, ParleyError):
            self.connected.clear()
            delay = self._backoff.next(why.retry_after)
            self._tell(ConnectionState.RECONNECTING, error=why, retry_in=delay)
            await asyncio.sleep(delay)
        elif isinstance(why, Drained) and self.link:
            self._tokens.move(why.home)
            await self._woken_by(self.link.over, why.delay)

    async def _open(self) -> Link:
        token = await self._tokens.access()
        home = self._tokens.session.home if self._hint is None else self._hint
        hello = chat_pb2.Hello(cursor=self._cursor(), activity=self._dialogue.activity)
        try:
            return await Link.open(self._door, token, home, hello)
        except SignedOut:
            raise
        except Unauthenticated:
            await self._tokens.renew(token)
            raise
        except TimedOut:
            await self._door.renew()
            raise

    async def _switch(self, link: Link) -> None:
        old, self.link = self.link, link
        if old:
            await old.leave()
        self._tokens.move(link.welcome.home)
        self._dialogue.welcome(link.welcome)
        self.connected.set()
        self._tell(ConnectionState.CONNECTED, home=link.welcome.home)

    async def _serve(self, link: Link) -> None:
        writing = asyncio.create_task(self._write(link))
        watching = asyncio.create_task(self._watch(link))
        try:
            link.part(await self._read(link))
        finally:
            link.over.set()
            link.cancel()
            writing.cancel()
            watching.cancel()
            await asyncio.gather(writing, watching, return_exceptions=True)

    async def _read(self, link: Link) -> ParleyError:
        try:
            while (frame := await link.read()) is not None:
                await self._take(link, frame)
        except ParleyError as error:
            return error
        return TryLater("the stream ended", code="UNAVAILABLE")

    async def _take(self, link: Link, frame: chat_pb2.ConnectResponse) -> None:
        if frame.HasField("drain"):
            delay = frame.drain.delay.ToMilliseconds() / 1000
            link.part(Drained(delay, frame.drain.home))
        elif frame.HasField("error") and frame.error.final:
            link.part(from_status(frame.error.status))
        else:
            # Two streams may be read while one takes over: what one frame brought stays together.
            async with self._reading:
                items = self._dialogue.take(frame, self._loop.time(), current=not link.left)
                if items:
                    await self._feed.put(items)

    async def _write(self, link: Link) -> None:
        while not link.left:
            self._dialogue.wake.clear()
            now = self._loop.time()
            frames = self._dialogue.frames(now)
            beat_in = link.written + link.heartbeat_interval - now
            if not frames and beat_in <= 0:
                frames = [HEARTBEAT]
            for frame in frames:
                if not await link.write(frame):
                    return
            if self._dialogue.outgoing.needs_new_stream:
                link.part(Renewed())
            if not frames:
                seconds = min([beat_in, *_some(self._dialogue.wait(now))])
                await self._woken_by(self._dialogue.wake, seconds)

    @staticmethod
    async def _woken_by(event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    async def _watch(self, link: Link) -> None:
        """Look once a second at what has no event of its own: silence, lost ends, the age of the token."""
        while True:
            await asyncio.sleep(min(TICK, link.heartbeat_interval / 4))
            if link.is_dead():
                link.part(too_late("heartbeats", link.heartbeat_interval))
                await self._door.renew()
            elif link.left and self.link and self._loop.time() - self.link.opened > LEAVING:
                link.cancel()
            elif not link.left:
                for item in self._dialogue.tick(self._loop.time()):
                    self._feed.post(item)
                await self._reauthenticate(link)

    async def _reauthenticate(self, link: Link) -> None:
        if self._tokens.renewal_in() > 0:
            return
        try:
            token = await self._tokens.access()
        except SignedOut as error:
            link.part(error)
        except ParleyError:
            return  # the next tick asks again, and the stream lives 30 s longer than the token
        else:
            request = chat_pb2.ReauthenticateRequest(access_token=token)
            self._dialogue.once(chat_pb2.ConnectRequest(reauthenticate=request))

    async def _end(self, why: ParleyError) -> None:
        self.connected.clear()
        if self.link:
            # The server delivers outstanding answers before it closes a stream that was taken over.
            await self._woken_by(self.link.over, ANSWERS)
            self.link.cancel()
        self._dialogue.give_up(why)
        self._tell(ConnectionState.ENDED, error=why)
        self._feed.close()

    def _tell(
        self,
        state: ConnectionState,
        home: str = "",
        error: ParleyError | None = None,
        retry_in: float | None = None,
    ) -> None:
        self._feed.post(Item(ConnectionChanged(state, home, error, retry_in)))


def _some(seconds: float | None) -> tuple[float, ...]:
    return () if seconds is None else (seconds,)

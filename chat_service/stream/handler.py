"""The dialogue on one stream: what the device says, what it is told, and how it ends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from chat_service.errors import HelloRepeated, RateLimited, StoreUnavailable
from chat_service.history.history import FetchedRange, History, RangeRequest
from chat_service.limits import Limits
from chat_service.model.cursor import IndexReading
from chat_service.stream.home_registrar import MayStay
from chat_service.stream.outbox import FRAME_BYTES
from chat_service.stream.presence_subscriptions import PresenceSubscriptions
from chat_service.stream.session import StreamSession
from chat_service.wire import frames, ranges, requests
from parley.chat.v1 import chat_pb2
from servicekit.clock import Clock
from servicekit.failure import Failure
from servicekit.rate_limiter import TokenBucket
from servicekit.rpc import ByteStream
from servicekit.tasks import cancel_requested
from servicekit.telemetry import span, trace_carrier

PAGE: Final = 500
RANGES_PER_READ: Final = 8
DEFAULT_ENTRIES: Final = 100
RETRY_S: Final = 1.0
# After the end of a session, what waits has this long to reach the device.
FLUSH_TIMEOUT_S: Final = 5.0
# So many receipts count as another frame.
RECEIPTS_OF_A_FRAME: Final = 20

log = structlog.get_logger("stream")

Reauthenticate = Callable[[StreamSession, str], Awaitable[None]]


class StreamHandler:
    """Three tasks: one takes frames in, one reads stores for the device, one writes. Only the last may wait long."""

    def __init__(
        self,
        session: StreamSession,
        stream: ByteStream,
        history: History,
        watching: PresenceSubscriptions,
        limits: Limits,
        clock: Clock,
        may_stay: MayStay,
        reauthenticate: Reauthenticate,
        begun: Callable[[], None],
        traceparent: str,
    ) -> None:
        self._session = session
        self._stream = stream
        self._history = history
        self._presence = watching
        self._limits = limits
        self._clock = clock
        self._may_stay = may_stay
        self._reauthenticate = reauthenticate
        self._on_ready = begun
        self._traceparent = traceparent
        self._frame_rate = TokenBucket(
            limits.sends_per_second * limits.frames_per_send, limits.sends_burst * limits.frames_per_send, clock
        )
        self._fetches: deque[chat_pb2.Fetch] = deque()
        self._first = True

    async def run(self) -> None:
        """Until the session is closed. Raises why, unless it was superseded or ended well."""
        outbox = self._session.outbox
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(self._write_frames())
            others = [group.create_task(self._read_frames()), group.create_task(self._serve_reads())]
            await outbox.wait_closing()
            await asyncio.wait([writing], timeout=FLUSH_TIMEOUT_S)
            for task in [writing, *others]:
                task.cancel()
        if outbox.failure is not None:
            raise outbox.failure

    async def _write_frames(self) -> None:
        while (frame := await self._session.outbox.take()) is not None:
            await self._stream.write(frame)

    async def _read_frames(self) -> None:
        while not self._session.outbox.closed:
            data = await self._stream.read()
            if data is None:
                # No more frames from the device; it still listens.
                return
            await self._throttle(1)
            try:
                kind, frame = requests.decode_frame(data)
                if kind == "hello":
                    raise HelloRepeated("hello is said once, as the first frame")
            except Failure as violation:
                self._session.close(violation)
                return
            try:
                requests.check_frame(data, frame, self._limits)
                await self._handle_frame(kind, frame)
            except Failure as failure:
                self._refuse_frame(kind, frame, failure)

    async def _throttle(self, frames: float) -> None:
        wait = self._frame_rate.take(frames)
        while wait > 0:
            await asyncio.sleep(wait)
            wait = self._frame_rate.take(frames)

    async def _handle_frame(self, kind: str, frame: chat_pb2.ConnectRequest) -> None:
        now_ms = self._clock.now_ms()
        if kind == "send_message":
            with span("send_message"):
                self._submit_send(frame.send_message, now_ms)
        elif kind == "receipts":
            await self._throttle(len(frame.receipts.receipts) / RECEIPTS_OF_A_FRAME)
            for each in frame.receipts.receipts:
                self._session.receipts.add_receipt(each.conversation_id, each.delivered_seq, each.read_seq)
        elif kind == "fetch":
            if len(self._fetches) >= self._limits.fetches_waiting:
                raise RateLimited("too many fetches wait on this stream")
            self._fetches.append(frame.fetch)
            self._session.wake()
        elif kind == "heartbeat":
            self._session.outbox.put_frame(frames.heartbeat_frame(now_ms))
        elif kind == "typing":
            said = frame.typing
            self._session.publish_typing(said.conversation_id, said.typing)
        elif kind == "reauthenticate":
            await self._reauthenticate(self._session, frame.reauthenticate.access_token)
        elif kind == "watch_presence":
            online = await self._presence.watch(self._session, list(frame.watch_presence.user_ids))
            self._session.outbox.put_frame(frames.presence_frame(online))

    def _submit_send(self, send: chat_pb2.SendMessageRequest, now_ms: int) -> None:
        # Where no traces are made here, the device's own goes through.
        traceparent = trace_carrier().get("traceparent", self._traceparent)
        self._session.submit_send(
            requests.decode_send(send, self._session.claims.user_id, self._limits, now_ms, traceparent)
        )

    def _refuse_frame(self, kind: str, frame: chat_pb2.ConnectRequest, failure: Failure) -> None:
        if kind == "send_message":
            send = frame.send_message
            self._session.refuse_send(send.conversation_id, send.client_message_id, failure)
        else:
            self._session.outbox.put_frame(frames.error_frame(failure, final=False))

    async def _serve_reads(self) -> None:
        """Whatever needs a store, one thing at a time, at the pace at which the device reads."""
        while not cancel_requested():
            await self._session.wait_woken()
            # What did not fit before would not now.
            await self._session.outbox.wait_writable()
            try:
                if self._session.take_recheck_request():
                    # The first time it was asked a moment ago.
                    if not self._first and not await self._may_stay(self._session):
                        continue
                    self._presence.recheck_hidden(self._session)
                    await self._send_changes()
                while self._fetches:
                    await self._answer_fetch(self._fetches[0])
                    self._fetches.popleft()
            except StoreUnavailable as failure:
                log.warning("cannot read for a device", session_id=self._session.session_id, error=failure.message)
                self._session.call_later(RETRY_S, self._session.request_recheck)

    async def _send_changes(self) -> None:
        reading = await self._history.list_changes(self._session.claims.user_id, self._session.cursor)
        self._session.cursor = reading.cursor or self._session.cursor
        if self._first or reading.conversation_ids:
            await self._send_changes_pages(reading)
        if self._first:
            self._first = False
            self._on_ready()

    async def _send_changes_pages(self, reading: IndexReading) -> None:
        ids = reading.conversation_ids
        for start in range(0, max(len(ids), 1), PAGE):
            await self._session.outbox.wait_writable()
            last = start + PAGE >= len(ids)
            self._session.outbox.put_frame(frames.changes_frame(reading, ids[start : start + PAGE], last=last))

    async def _answer_fetch(self, fetch: chat_pb2.Fetch) -> None:
        spans = [
            RangeRequest(each.conversation_id, each.after_seq, each.limit or DEFAULT_ENTRIES) for each in fetch.ranges
        ]
        user_id = self._session.claims.user_id
        for start in range(0, len(spans), RANGES_PER_READ):
            some = spans[start : start + RANGES_PER_READ]
            for asked, found in zip(some, await self._history.read_ranges(user_id, some), strict=True):
                await self._send_range(user_id, asked, found)

    async def _send_range(self, user_id: str, span: RangeRequest, found: FetchedRange | Failure) -> None:
        if isinstance(found, Failure):
            await self._put_when_writable(frames.entries_frame((), [ranges.refused_range(span, found)]))
            return
        for part in ranges.split_range(found, user_id, FRAME_BYTES):
            await self._put_when_writable(part)

    async def _put_when_writable(self, frame: bytes) -> None:
        await self._session.outbox.wait_writable()
        self._session.outbox.put_frame(frame)

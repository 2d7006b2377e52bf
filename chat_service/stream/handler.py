"""The handler of one stream: it reads the device's frames, serves its store reads, and writes the outbox."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from chat_service.history.history import FetchedRange, History, RangeRequest
from chat_service.limits import Limits
from chat_service.model.cursor import IndexReading
from chat_service.stream.edge_presence import EdgePresence
from chat_service.stream.home_registrar import Revalidate
from chat_service.stream.message_spans import start_frame_span
from chat_service.stream.rejections import count_rejected_frame
from chat_service.stream.session import StreamSession
from chat_service.wire import frames, ranges, requests
from parley.chat.v1 import chat_pb2
from servicekit import tracing
from servicekit.clock import Clock
from servicekit.errors import HelloRepeated, RateLimited, SlowConsumer, StoreUnavailable
from servicekit.failure import INTERNAL_ERROR, Failure
from servicekit.log_context import Handling
from servicekit.outbox import FRAME_BYTES
from servicekit.rate_limiter import TokenBucket
from servicekit.rpc import ByteStream
from servicekit.tasks import cancel_requested

CHANGES_PAGE: Final = 500
RANGES_PER_READ: Final = 8
DEFAULT_RANGE_ENTRIES: Final = 100
RETRY_DELAY_S: Final = 1.0
# When a session is closed, its queued frames are written for at most this long.
FLUSH_TIMEOUT_S: Final = 5.0
# The queue of a slow consumer was discarded; only the frame being written and the final error are left.
SLOW_FLUSH_TIMEOUT_S: Final = 30.0
# A device that has read its last frame after this time may have more to read in Envoy, which discards that when the
# status follows: gRPC resets a stream whose client has not half-closed. So the status waits for the device to close.
PROMPT_FLUSH_S: Final = 0.5
CLOSE_TIMEOUT_S: Final = 5.0
# In the frame rate limit, so many receipts count as one more frame.
RECEIPTS_PER_FRAME: Final = 20

log = structlog.get_logger("stream")

Reauthenticate = Callable[[StreamSession, str], Awaitable[None]]
"""Replaces the token of a session. Raises Failure, DeviceRevoked, StoreUnavailable."""


class StreamHandler:
    """Three tasks of one stream: one reads frames, one reads stores for the device, one writes frames.

    `on_ready` is called once the device's first list of changes is in the outbox.
    """

    def __init__(
        self,
        session: StreamSession,
        stream: ByteStream,
        history: History,
        presence: EdgePresence,
        limits: Limits,
        clock: Clock,
        revalidate: Revalidate,
        reauthenticate: Reauthenticate,
        on_ready: Callable[[], None],
    ) -> None:
        self._session = session
        self._stream = stream
        self._history = history
        self._presence = presence
        self._limits = limits
        self._clock = clock
        self._revalidate = revalidate
        self._reauthenticate = reauthenticate
        self._on_ready = on_ready
        self._frame_rate = TokenBucket(
            limits.sends_per_second * limits.frames_per_send, limits.sends_burst * limits.frames_per_send, clock
        )
        self._fetches: deque[chat_pb2.Fetch] = deque()
        self._first_changes_due = True

    async def run(self) -> None:
        """Serve the stream until the session is closed. Raises the outbox's failure, if it has one."""
        outbox = self._session.outbox
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._write_frames())
            readers = [group.create_task(self._read_frames()), group.create_task(self._serve_reads())]
            await outbox.wait_closing()
            await self._flush(writer, readers[0])
            for task in [writer, *readers]:
                task.cancel()
        if outbox.failure is not None:
            raise outbox.failure

    async def _flush(self, writer: asyncio.Task[None], frame_reader: asyncio.Task[None]) -> None:
        """Wait until the queued frames are written; if that took long, also until the device closes its side."""
        done, _ = await asyncio.wait([writer], timeout=PROMPT_FLUSH_S)
        if not done:
            slow = isinstance(self._session.outbox.failure, SlowConsumer)
            done, _ = await asyncio.wait([writer], timeout=SLOW_FLUSH_TIMEOUT_S if slow else FLUSH_TIMEOUT_S)
            if done:
                await asyncio.wait([frame_reader], timeout=CLOSE_TIMEOUT_S)

    async def _write_frames(self) -> None:
        while (frame := await self._session.outbox.dequeue()) is not None:
            await self._stream.write(frame)

    async def _read_frames(self) -> None:
        """Handle frames until the device half-closes the stream, after which it still reads."""
        while (data := await self._stream.read()) is not None:
            await self._throttle(1)
            self._session.note_frame()
            if self._session.outbox.closed:
                continue
            try:
                kind, frame = requests.decode_frame(data)
                if kind == "hello":
                    raise HelloRepeated("hello must be sent once, as the first frame")
            except Failure as violation:
                count_rejected_frame(violation)
                self._session.close(violation)
                continue
            with Handling(frame):
                try:
                    requests.check_frame(data, frame, self._limits)
                    await self._handle_frame(kind, frame)
                except Failure as failure:
                    self._refuse_frame(kind, frame, failure)
                except Exception:
                    log.exception("frame failed", kind=kind)
                    raise Failure(INTERNAL_ERROR) from None

    async def _throttle(self, frames: float) -> None:
        wait_s = self._frame_rate.take(frames)
        while wait_s > 0:
            await asyncio.sleep(wait_s)
            wait_s = self._frame_rate.take(frames)

    async def _handle_frame(self, kind: str, frame: chat_pb2.ConnectRequest) -> None:
        now_ms = self._clock.now_ms()
        if kind == "send_message":
            self._submit_send(frame.send_message, now_ms)
        elif kind == "receipts":
            await self._throttle(len(frame.receipts.receipts) / RECEIPTS_PER_FRAME)
            for receipt in frame.receipts.receipts:
                self._session.receipts.add_receipt(receipt.conversation_id, receipt.delivered_seq, receipt.read_seq)
        elif kind == "fetch":
            if len(self._fetches) >= self._limits.fetches_waiting:
                raise RateLimited("too many fetches are pending on this stream")
            self._fetches.append(frame.fetch)
            self._session.wake()
        elif kind == "heartbeat":
            self._presence.note_frame(self._session, frame.heartbeat.activity)
            self._session.outbox.put_frame(frames.heartbeat_frame(now_ms))
        elif kind == "typing":
            self._session.publish_typing(frame.typing.conversation_id, frame.typing.typing)
        elif kind == "reauthenticate":
            await self._reauthenticate(self._session, frame.reauthenticate.access_token)
        elif kind == "watch_presence":
            self._presence.watch(self._session, list(frame.watch_presence.user_ids))

    def _submit_send(self, send: chat_pb2.SendMessageRequest, now_ms: int) -> None:
        user_id = self._session.claims.user_id
        span = start_frame_span(send, user_id, self._session.stream_context) if tracing.is_enabled() else None
        try:
            draft = requests.decode_send(send, user_id, self._limits, now_ms, span.traceparent if span else "")
        except Failure as failure:
            if span is not None:
                span.end(failure=failure)
            raise
        self._session.submit_send(draft, span)

    def _refuse_frame(self, kind: str, frame: chat_pb2.ConnectRequest, failure: Failure) -> None:
        count_rejected_frame(failure)
        if kind == "send_message":
            send = frame.send_message
            self._session.refuse_send(send.conversation_id, send.client_message_id, failure)
        else:
            self._session.outbox.put_frame(frames.error_frame(failure, final=False))

    async def _serve_reads(self) -> None:
        """Serve rechecks and fetches one after another, at the pace at which the device reads its outbox."""
        while not cancel_requested():
            await self._session.wait_woken()
            # A full outbox would drop the same changes again.
            await self._session.outbox.wait_writable()
            try:
                if self._session.take_recheck_request():
                    # Before the first read the edge has just checked the device.
                    if not self._first_changes_due and not await self._revalidate(self._session):
                        continue
                    await self._send_changes()
                while self._fetches:
                    await self._answer_fetch(self._fetches[0])
                    self._fetches.popleft()
            except StoreUnavailable as failure:
                log.warning("store read failed", session_id=self._session.session_id, error=failure.message)
                self._session.call_later(RETRY_DELAY_S, self._session.request_recheck)

    async def _send_changes(self) -> None:
        reading = await self._history.list_changes(self._session.claims.user_id, self._session.cursor)
        self._session.cursor = reading.cursor or self._session.cursor
        if self._first_changes_due or reading.conversation_ids:
            await self._send_changes_pages(reading)
        if self._first_changes_due:
            self._first_changes_due = False
            self._on_ready()

    async def _send_changes_pages(self, reading: IndexReading) -> None:
        ids = reading.conversation_ids
        for start in range(0, max(len(ids), 1), CHANGES_PAGE):
            await self._session.outbox.wait_writable()
            last = start + CHANGES_PAGE >= len(ids)
            self._session.outbox.put_frame(frames.changes_frame(reading, ids[start : start + CHANGES_PAGE], last=last))

    async def _answer_fetch(self, fetch: chat_pb2.Fetch) -> None:
        requested = [
            RangeRequest(part.conversation_id, part.after_seq, part.limit or DEFAULT_RANGE_ENTRIES)
            for part in fetch.ranges
        ]
        user_id = self._session.claims.user_id
        for start in range(0, len(requested), RANGES_PER_READ):
            batch = requested[start : start + RANGES_PER_READ]
            for request, result in zip(batch, await self._history.read_ranges(user_id, batch), strict=True):
                await self._send_range(user_id, request, result)

    async def _send_range(self, user_id: str, request: RangeRequest, result: FetchedRange | Failure) -> None:
        if isinstance(result, Failure):
            await self._put_when_writable(frames.entries_frame((), [ranges.refused_range(request, result)]))
            return
        for frame in ranges.split_range(result, user_id, FRAME_BYTES):
            await self._put_when_writable(frame)

    async def _put_when_writable(self, frame: bytes) -> None:
        await self._session.outbox.wait_writable()
        self._session.outbox.put_frame(frame)

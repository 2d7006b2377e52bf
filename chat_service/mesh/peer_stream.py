"""A peer stream: one bidirectional stream between two chat servers, for requests, responses and publications."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from parley.internal.v1.mesh_pb2 import MeshBatch, MeshFrame, MeshHello, Missed
from servicekit.proto_fields import encode_repeated_field

QUEUE_BYTES: Final = 32 * 1024 * 1024
BATCH_BYTES: Final = 256 * 1024
FRAMES_FIELD: Final[int] = MeshBatch.DESCRIPTOR.fields_by_name["frames"].number

OnResponse = Callable[[MeshFrame | None], None]
Read = Callable[[], Awaitable[MeshBatch | None]]
Write = Callable[[bytes], Awaitable[object]]

_frames = Counter("parley_mesh_frames", "Frames between chat servers", ["direction"])
_dropped = Counter("parley_mesh_frames_dropped", "Frames not sent because a queue was full")
_failed = Counter("parley_mesh_frames_failed", "Frames of peers whose handling raised an error")

_lag = Histogram(
    "parley_mesh_lag_seconds",
    "Seconds from the sending of a batch of frames to its acknowledgement; a stream measures one batch at a time",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)

log = structlog.get_logger("mesh.peer_stream")


class PeerStream:
    """The stream of frames to and from one peer.

    No call waits for the network. The queue is bounded by QUEUE_BYTES, and a full queue refuses requests and
    publications. Frames that no sender retries are queued regardless: responses, and frames that end, detach or recheck
    a session. Their number is bounded by the requests received and by the sessions.
    """

    def __init__(self, hello: MeshHello | None, ring_revision: Callable[[], int]) -> None:
        self._hello = hello
        self._ring_revision = ring_revision
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._pending: dict[int, OnResponse] = {}
        self._last_sent = 0
        self._last_received = 0
        self._must_acknowledge = False
        self._wake = asyncio.Event()
        self._missed = False
        # The last frame of the batch whose lag is measured, and when that batch was sent.
        self._measured_batch: tuple[int, float] | None = None
        if hello:
            self._wake.set()

    def send(self, frame: MeshFrame) -> bool:
        """Queue `frame`; return False if the queue is full. The peer is sent `missed` after a frame was dropped."""
        if not self._has_room():
            return False
        self._queue_frame(frame)
        return True

    def send_unbounded(self, frame: MeshFrame) -> None:
        """Queue `frame` even if the queue is full."""
        self._queue_frame(frame)

    def request(self, frame: MeshFrame, on_response: OnResponse, traceparent: str = "") -> None:
        """Queue `frame`; `on_response` is called once, with None if the queue is full or the stream ends first."""
        if self._has_room():
            if traceparent:
                frame.traceparent = traceparent
            self._pending[self._queue_frame(frame)] = on_response
        else:
            on_response(None)

    def respond(self, request_id: int, frame: MeshFrame) -> None:
        """Queue `frame` as the response to the peer's frame `request_id`."""
        frame.answers_frame_id = request_id
        self._queue_frame(frame)

    async def run(self, read: Read, write: Write, handle_frame: Callable[[MeshFrame, PeerStream], None]) -> None:
        """Exchange frames until the peer ends the stream or an error ends it; then fail the pending requests."""
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(write))
                await self._read(read, handle_frame)
                writer.cancel()
        finally:
            self.fail_pending()

    def fail_pending(self) -> None:
        """Call the handler of each pending request with None."""
        pending, self._pending = self._pending, {}
        for on_response in pending.values():
            on_response(None)

    def _has_room(self) -> bool:
        if self._queued_bytes <= QUEUE_BYTES:
            return True
        _dropped.inc()
        self._missed = True
        return False

    def _queue_frame(self, frame: MeshFrame) -> int:
        self._last_sent += 1
        frame.frame_id = self._last_sent
        data = frame.SerializeToString()
        self._queue.append(data)
        self._queued_bytes += len(data)
        self._wake.set()
        return self._last_sent

    async def _write(self, write: Write) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue or self._must_acknowledge or self._hello:
                await write(self._next_batch())
            if self._missed:
                self._missed = False
                self._queue_frame(MeshFrame(missed=Missed()))

    def _next_batch(self) -> bytes:
        head = MeshBatch(
            hello=self._hello, ring_revision=self._ring_revision(), acknowledged_frame_id=self._last_received
        )
        self._hello, self._must_acknowledge = None, False
        frames, size = [], 0
        while self._queue and size < BATCH_BYTES:
            frames.append(self._queue.popleft())
            size += len(frames[-1])
        self._queued_bytes -= size
        if frames and self._measured_batch is None:
            self._measured_batch = self._last_sent - len(self._queue), asyncio.get_running_loop().time()
        _frames.labels("sent").inc(len(frames))
        return head.SerializeToString() + encode_repeated_field(FRAMES_FIELD, frames)

    async def _read(self, read: Read, handle_frame: Callable[[MeshFrame, PeerStream], None]) -> None:
        while (batch := await read()) is not None:
            self._measure_lag(batch.acknowledged_frame_id)
            if not batch.frames:
                continue
            _frames.labels("received").inc(len(batch.frames))
            for frame in batch.frames:
                self._handle_frame(frame, handle_frame)
            self._last_received = batch.frames[-1].frame_id
            self._must_acknowledge = True
            self._wake.set()

    def _measure_lag(self, acknowledged_frame_id: int) -> None:
        if self._measured_batch is not None and acknowledged_frame_id >= self._measured_batch[0]:
            _lag.observe(asyncio.get_running_loop().time() - self._measured_batch[1])
            self._measured_batch = None

    def _handle_frame(self, frame: MeshFrame, handle_frame: Callable[[MeshFrame, PeerStream], None]) -> None:
        try:
            if not frame.answers_frame_id:
                handle_frame(frame, self)
            elif (on_response := self._pending.pop(frame.answers_frame_id, None)) is not None:
                on_response(frame)
        except Exception:
            # One frame of a newer or broken peer must not end this server.
            _failed.inc()
            log.exception("peer frame failed", kind=frame.WhichOneof("body"))

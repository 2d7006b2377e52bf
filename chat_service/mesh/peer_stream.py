"""A link: one stream to another chat server, on which either side asks, answers and publishes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from prometheus_client import Counter

from chat_service.wire.tags import encode_repeated
from parley.internal.v1.mesh_pb2 import MeshBatch, MeshFrame, MeshHello, Missed

QUEUE_BYTES: Final = 32 * 1024 * 1024
BATCH_BYTES: Final = 256 * 1024
FRAMES: Final[int] = MeshBatch.DESCRIPTOR.fields_by_name["frames"].number

OnResponse = Callable[[MeshFrame | None], None]
Read = Callable[[], Awaitable[MeshBatch | None]]
Write = Callable[[bytes], Awaitable[object]]

_frames = Counter("parley_mesh_frames", "Frames between chat servers", ["direction"])
_dropped = Counter("parley_mesh_frames_dropped", "Frames not sent because a queue was full")
_failed = Counter("parley_mesh_frames_not_taken", "Frames of peers that could not be taken in")

log = structlog.get_logger("mesh.link")


class PeerStream:
    """The frames to and from one peer. Nothing here waits for a send: what does not fit is refused.

    What nobody would repeat is taken all the same: answers, and what ends or looks after a session. Of these there are
    no more than there were questions and sessions.
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
        if hello:
            self._wake.set()

    def send(self, frame: MeshFrame, traceparent: str = "") -> bool:
        """Queue `frame`; False if there is no room. What is for a home and dropped is told to it as missed."""
        if not self._has_room():
            return False
        self._queue_frame(frame, traceparent)
        return True

    def send_unbounded(self, frame: MeshFrame) -> None:
        """Queue `frame`, room or not."""
        self._queue_frame(frame, "")

    def request(self, frame: MeshFrame, answered: OnResponse, traceparent: str = "") -> None:
        """Queue `frame`; `answered` is called once, with None if there is no room or the link breaks."""
        if self._has_room():
            self._pending[self._queue_frame(frame, traceparent)] = answered
        else:
            answered(None)

    def respond(self, question: int, frame: MeshFrame) -> None:
        """Answer the peer's frame `question`."""
        frame.answers_frame_id = question
        self._queue_frame(frame, "")

    async def run(self, read: Read, write: Write, take: Callable[[MeshFrame, PeerStream], None]) -> None:
        """Carry frames until the peer ends the stream or it breaks; then what was asked is answered with None."""
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(write))
                await self._read(read, take)
                writer.cancel()
        finally:
            self.fail_pending()

    def fail_pending(self) -> None:
        """Nothing more comes: what was asked is answered with None."""
        asked, self._pending = self._pending, {}
        for answered in asked.values():
            answered(None)

    def _has_room(self) -> bool:
        if self._queued_bytes <= QUEUE_BYTES:
            return True
        _dropped.inc()
        self._missed = True
        return False

    def _queue_frame(self, frame: MeshFrame, traceparent: str) -> int:
        self._last_sent += 1
        frame.frame_id = self._last_sent
        if traceparent:
            frame.traceparent = traceparent
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
                self._queue_frame(MeshFrame(missed=Missed()), "")

    def _next_batch(self) -> bytes:
        head = MeshBatch(
            hello=self._hello, ring_revision=self._ring_revision(), acknowledged_frame_id=self._last_received
        )
        self._hello, self._must_acknowledge = None, False
        taken, size = [], 0
        while self._queue and size < BATCH_BYTES:
            taken.append(self._queue.popleft())
            size += len(taken[-1])
        self._queued_bytes -= size
        _frames.labels("sent").inc(len(taken))
        return head.SerializeToString() + encode_repeated(FRAMES, taken)

    async def _read(self, read: Read, take: Callable[[MeshFrame, PeerStream], None]) -> None:
        while (batch := await read()) is not None:
            if not batch.frames:
                continue
            _frames.labels("received").inc(len(batch.frames))
            for frame in batch.frames:
                self._handle_frame(frame, take)
            self._last_received = batch.frames[-1].frame_id
            self._must_acknowledge = True
            self._wake.set()

    def _handle_frame(self, frame: MeshFrame, take: Callable[[MeshFrame, PeerStream], None]) -> None:
        try:
            if not frame.answers_frame_id:
                take(frame, self)
            elif (answered := self._pending.pop(frame.answers_frame_id, None)) is not None:
                answered(frame)
        except Exception:
            # One frame of a peer that is newer, or out of order, must not end this server.
            _failed.inc()
            log.exception("frame not taken", kind=frame.WhichOneof("body"))

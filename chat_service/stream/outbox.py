"""The outbox of one stream: bounded, and joined into as few frames as it can be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from chat_service.errors import SlowConsumer
from chat_service.wire import frames
from servicekit.failure import Failure

FRAME_BYTES: Final = 128 * 1024
WHOLE_FRAME: Final = 0
# Above this, what the device asked for itself waits until it has read.
WRITABLE_SHARE: Final = 0.5


class Outbox:
    """What is to be written to a stream, in order. Nobody waits to put something in.

    What can be found again is offered, and refused above `most_bytes`. What cannot is put in all the same, up to twice
    as much: who asks and asks, and reads no answer, is cut off.
    """

    def __init__(self, most_bytes: int) -> None:
        self._max_bytes = most_bytes
        self._items: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closing = asyncio.Event()
        self.failure: Failure | None = None
        # How many frames were taken out.
        self.frames_taken = 0

    def offer(self, kind: int, element: bytes) -> bool:
        """An element as with `put`; False if there is no room for it."""
        if self.full:
            return False
        self._put(kind, element)
        return True

    def put_frame(self, frame: bytes) -> None:
        """A frame that stands alone."""
        self._put(WHOLE_FRAME, frame)

    def put(self, kind: int, element: bytes) -> None:
        """An element of a frame of `kind` (frames.ENTRIES, RESULTS, WATERMARKS); neighbours share a frame."""
        self._put(kind, element)

    def close(self, failure: Failure | None) -> None:
        """Nothing more comes; what waits is still written. The first call counts."""
        if not self.closed:
            if failure is not None:
                self._items.append((WHOLE_FRAME, frames.error_frame(failure, final=True)))
            self.failure = failure
            self._closing.set()
            self._wake.set()
            self._writable.set()

    def cut_off(self) -> None:
        """The device does not read: nothing more is written to it than why."""
        self._items.clear()
        self.close(SlowConsumer("the device does not read what is sent to it; connect again and resume"))

    @property
    def full(self) -> bool:
        """Whether there is no room for what is offered."""
        return self._bytes > self._max_bytes

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken in."""
        return self._closing.is_set()

    async def wait_closing(self) -> None:
        """Wait until nothing more is taken in."""
        await self._closing.wait()

    async def wait_writable(self) -> None:
        """Wait until the device has read most of what waits for it."""
        await self._writable.wait()

    async def take(self) -> bytes | None:
        """The next frame; None when the outbox is closed and empty. For one reader."""
        while not self._items:
            if self.closed:
                return None
            self._wake.clear()
            await self._wake.wait()
        kind, item = self._items.popleft()
        size = len(item)
        if kind != WHOLE_FRAME:
            elements = [item]
            while self._items and self._items[0][0] == kind and size < FRAME_BYTES:
                elements.append(self._items.popleft()[1])
                size += len(elements[-1])
            item = frames.join_elements(kind, elements)
        self._bytes -= size
        self.frames_taken += 1
        if self._bytes < self._max_bytes * WRITABLE_SHARE:
            self._writable.set()
        return item

    def _put(self, kind: int, item: bytes) -> None:
        if self.closed:
            return
        self._items.append((kind, item))
        self._bytes += len(item)
        self._wake.set()
        if self._bytes > self._max_bytes * 2:
            self.cut_off()
        elif self._bytes >= self._max_bytes * WRITABLE_SHARE:
            self._writable.clear()


log = structlog.get_logger("stream.backlog")

Later = Callable[[float, Callable[[], None]], object]


class SlowConsumerDetector:
    """Watches an outbox that had no room: within `patience` seconds the device must have read something."""

    def __init__(self, outbox: Outbox, user_id: str, patience: float, later: Later) -> None:
        self._outbox = outbox
        self._user_id = user_id
        self._patience = patience
        self._call_later = later
        self._watched = False

    def on_overflow(self) -> None:
        """Something did not fit."""
        if not self._watched:
            self._watched = True
            taken = self._outbox.frames_taken
            self._call_later(self._patience, lambda: self._check_progress(taken))

    def _check_progress(self, taken: int) -> None:
        self._watched = False
        if self._outbox.full:
            if self._outbox.frames_taken == taken:
                log.warning("device does not read", user_id=self._user_id)
                self._outbox.cut_off()
            else:
                self.on_overflow()

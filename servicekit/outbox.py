"""The outbox of one stream, and the detection of a device that does not read it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from prometheus_client import Counter

from servicekit.clock import CallLater
from servicekit.errors import SlowConsumer
from servicekit.failure import Failure

JoinElements = Callable[[int, Sequence[bytes]], bytes]
"""Returns the frame of a kind that holds these elements, in order."""

EncodeFailure = Callable[[Failure], bytes]
"""Returns the last frame of a stream that ends with a failure."""

# A frame that has reached this size takes no further elements.
FRAME_BYTES: Final = 128 * 1024
WHOLE_FRAME: Final = 0
_MARK: Final = -1
# While the outbox is fuller than this share, responses to the device's own requests wait.
WRITABLE_SHARE: Final = 0.5

_refused = Counter("parley_outbox_refused", "Elements that did not fit an outbox; devices fetch them later")
_cut_off = Counter("parley_slow_consumers", "Streams that were closed because their devices did not read them")

log = structlog.get_logger("outbox")


class Outbox:
    """A bounded queue of the frames to write to one stream, in order. Appending never blocks.

    `offer` is for elements that the device can fetch later: it refuses them while more than `max_bytes` are queued.
    `put` is for all others, and refuses none. Beyond twice `max_bytes` the stream is closed with SlowConsumer, because
    the device sends requests and does not read the responses.

    `join` makes a frame of adjacent elements of one kind. `encode_failure` makes the last frame of a stream that ends
    with a failure; without it the stream ends with the failure as its status alone.
    """

    def __init__(self, max_bytes: int, join: JoinElements, encode_failure: EncodeFailure | None = None) -> None:
        self._max_bytes = max_bytes
        self._join = join
        self._encode_failure = encode_failure
        self._items: deque[tuple[int, bytes]] = deque()
        # The calls of the marks among the items, in their order.
        self._marks: deque[Callable[[], None]] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closing = asyncio.Event()
        self.failure: Failure | None = None
        self.frames_dequeued = 0

    def offer(self, kind: int, element: bytes) -> bool:
        """Append an element as `put` does; return False if the outbox is full."""
        if self.full:
            _refused.inc()
            return False
        self._put(kind, element)
        return True

    def put_frame(self, frame: bytes) -> None:
        """Append a complete frame."""
        self._put(WHOLE_FRAME, frame)

    def put(self, kind: int, element: bytes) -> None:
        """Append an element of a frame of `kind`; adjacent elements of one kind are joined into one frame."""
        self._put(kind, element)

    def put_mark(self, on_written: Callable[[], None]) -> None:
        """Call `on_written` once the frames with everything queued before are written; never if they are discarded."""
        if not self.closed:
            self._marks.append(on_written)
            self._put(_MARK, b"")

    def close(self, failure: Failure | None) -> None:
        """Stop accepting frames; queued frames are still written, then `failure`. Only the first call has an effect."""
        if not self.closed:
            if failure is not None and self._encode_failure is not None:
                self._items.append((WHOLE_FRAME, self._encode_failure(failure)))
            self.failure = failure
            self._closing.set()
            self._wake.set()
            self._writable.set()

    def cut_off(self) -> None:
        """Discard the queued frames and close with SlowConsumer."""
        self._items.clear()
        self._marks.clear()
        self._bytes = 0
        _cut_off.inc()
        self.close(SlowConsumer("the device does not read its stream; connect again and resume"))

    @property
    def queued_bytes(self) -> int:
        """The size of the queued frames."""
        return self._bytes

    @property
    def full(self) -> bool:
        """True if more than `max_bytes` are queued, so that offers are refused."""
        return self._bytes > self._max_bytes

    @property
    def closed(self) -> bool:
        """True if no more frames are accepted."""
        return self._closing.is_set()

    async def wait_closing(self) -> None:
        """Wait until the outbox is closed; frames may still be queued."""
        await self._closing.wait()

    async def wait_writable(self) -> None:
        """Wait until less than WRITABLE_SHARE of the outbox is in use, or it is closed."""
        await self._writable.wait()

    async def dequeue(self) -> bytes | None:
        """Wait for the next frame and return it, or None when the outbox is closed and empty. For one reader only."""
        kind, item = _MARK, b""
        while kind == _MARK:
            while not self._items:
                if self.closed:
                    return None
                self._wake.clear()
                await self._wake.wait()
            kind, item = self._items.popleft()
            if kind == _MARK:
                self._marks.popleft()()
        size = len(item)
        if kind != WHOLE_FRAME:
            elements = [item]
            while self._items and self._items[0][0] == kind and size < FRAME_BYTES:
                elements.append(self._items.popleft()[1])
                size += len(elements[-1])
            item = self._join(kind, elements)
        self._bytes -= size
        self.frames_dequeued += 1
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


class SlowConsumerDetector:
    """Closes an outbox that stays full while the device reads no frame for `patience_s` seconds."""

    def __init__(self, outbox: Outbox, user_id: str, patience_s: float, call_later: CallLater) -> None:
        self._outbox = outbox
        self._user_id = user_id
        self._patience_s = patience_s
        self._call_later = call_later
        self._check_scheduled = False

    def on_overflow(self) -> None:
        """Schedule a check of the device's progress, unless one is scheduled."""
        if not self._check_scheduled:
            self._check_scheduled = True
            frames_before = self._outbox.frames_dequeued
            self._call_later(self._patience_s, lambda: self._check_progress(frames_before))

    def _check_progress(self, frames_before: int) -> None:
        self._check_scheduled = False
        if self._outbox.full:
            if self._outbox.frames_dequeued == frames_before:
                log.warning("slow consumer disconnected", user_id=self._user_id)
                self._outbox.cut_off()
            else:
                self.on_overflow()

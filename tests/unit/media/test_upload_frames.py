"""The frames of a streamed upload, and their end."""

from __future__ import annotations

import asyncio

import pytest

from media_service.servicers import media
from media_service.servicers.media import _read_chunks
from parley.media.v1 import media_pb2
from servicekit.errors import Invalid


class Frames:
    """A stream that has these chunks; `read_all` is set once their end was read."""

    def __init__(self, *chunks: bytes) -> None:
        self._frames = [media_pb2.UploadRequest(chunk=chunk).SerializeToString() for chunk in chunks]
        self.read_all = asyncio.Event()

    async def read(self) -> bytes | None:
        if self._frames:
            return self._frames.pop(0)
        self.read_all.set()
        return None

    async def write(self, frame: bytes) -> None:
        """Take nothing."""


async def receive(frames: Frames, size: int) -> bytes:
    return b"".join([chunk async for chunk in _read_chunks(frames, size)])


async def test_frames_of_the_announced_size_are_received_at_once() -> None:
    async with asyncio.timeout(media.DISCONNECT_WAIT_S / 2):
        assert await receive(Frames(b"one", b"two"), 6) == b"onetwo"


async def test_client_that_left_is_no_wrong_size() -> None:
    frames = Frames(b"one")
    receiving = asyncio.create_task(receive(frames, 6))
    await frames.read_all.wait()
    # The transport cancels the call of a client that left, but may tell the end of its frames before.
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving


async def test_wrong_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "DISCONNECT_WAIT_S", 0.01)
    with pytest.raises(Invalid, match="7 bytes were announced, 6 were sent"):
        await receive(Frames(b"one", b"two"), 7)
    with pytest.raises(Invalid, match="5 bytes were announced, more were sent"):
        await receive(Frames(b"one", b"two"), 5)

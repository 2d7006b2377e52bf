"""A request body of an exact size, which reaches its end only if its source does."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator


class ExactBody:
    """The bytes of `chunks`, which must be `size_bytes`.

    The chunk with the last byte is held back until the source has ended: a source that is too long, or that fails at
    its end, leaves the request incomplete, and so the receiver discards it. `failure` is the error of the source.
    """

    def __init__(self, size_bytes: int, chunks: AsyncIterable[bytes]) -> None:
        self.size_bytes = size_bytes
        self.failure: Exception | None = None
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks once. Raise ValueError if the source has more or fewer bytes, and what the source raises."""
        try:
            async for chunk in self._hold_back_last():
                yield chunk
        except Exception as error:
            self.failure = error
            raise

    async def _hold_back_last(self) -> AsyncIterator[bytes]:
        received, last = 0, b""
        async for chunk in self._chunks:
            received += len(chunk)
            if received > self.size_bytes:
                raise ValueError(f"the source has more than {self.size_bytes} bytes")
            if received == self.size_bytes:
                last = last or chunk
            elif chunk:
                yield chunk
        if received < self.size_bytes:
            raise ValueError(f"the source has {received} bytes instead of {self.size_bytes}")
        if last:
            yield last

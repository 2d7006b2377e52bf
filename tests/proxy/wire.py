"""A TCP relay that simulates network faults: cut, dead, slow and redirected connections."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

_LOOPBACK = "127.0.0.1"
_CHUNK = 1 << 16


class Relay:
    """An async context manager; a client takes `address` for the server at `target`.

    `delay` is the latency in seconds added in each direction.
    """

    def __init__(self, target: str) -> None:
        self.address = ""
        self.delay = 0.0
        self._target = target
        self._ends: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    async def __aenter__(self) -> Relay:
        await self._listen(0)
        self.address = f"{_LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        await self._server.wait_closed()

    @property
    def in_use(self) -> bool:
        """Return true if a connection is open."""
        return bool(self._open())

    def cut(self) -> int:
        """Reset every connection on both sides, losing bytes in flight; return the number of ends."""
        ends = self._open()
        for end in ends:
            # Lingering for no time makes the kernel send a reset instead of a goodbye.
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()
        return len(ends)

    def hold(self) -> None:
        """Hold all bytes, without an error, until `flow` is called."""
        self._flows.clear()

    def flow(self) -> None:
        """Resume passing, held bytes first."""
        self._flows.set()

    def lead_to(self, target: str) -> None:
        """Lead new connections to another server and cut the open ones."""
        self._target = target
        self.cut()

    def refuse(self) -> None:
        """Behave like a dead server: reset connections and refuse new ones until `accept` is called."""
        self._server.close()
        self.cut()

    async def accept(self) -> None:
        """Accept connections again."""
        if not self._server.is_serving():
            await self._listen(int(self.address.rpartition(":")[2]))

    async def _listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._accepted, _LOOPBACK, port)

    def _open(self) -> list[asyncio.StreamWriter]:
        return [end for end in self._ends if not end.is_closing()]

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._target.rpartition(":")
        try:
            there, thither = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        self._ends |= {writer, thither}
        try:
            await asyncio.gather(self._pass(reader, thither), self._pass(there, writer))
        finally:
            self._ends -= {writer, thither}
            for end in (writer, thither):
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._flows.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        writer.close()

"""A relay of TCP connections, on which things go wrong as they do on a cable: cut, dead, slow, or led elsewhere."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

_LOOPBACK = "127.0.0.1"
_CHUNK = 1 << 16


class Relay:
    """An async context manager; a client takes `address` for the server at `target`.

    `delay` is how many seconds late everything comes, either way.
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
        """Whether there is a connection to cut."""
        return bool(self._open())

    def cut(self) -> int:
        """Reset every connection, on both sides, with whatever is on its way lost; how many ends there were."""
        ends = self._open()
        for end in ends:
            # Lingering for no time makes the kernel send a reset instead of a goodbye.
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()
        return len(ends)

    def hold(self) -> None:
        """Pass nothing on, and tell nobody, until `flow`."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on again, what was held first."""
        self._flows.set()

    def lead_to(self, target: str) -> None:
        """Have connections from now on end at another server; those that are open are cut."""
        self._target = target
        self.cut()

    def refuse(self) -> None:
        """Be gone, as a server that died: connections are reset, and refused until `accept`."""
        self._server.close()
        self.cut()

    async def accept(self) -> None:
        """Be there again."""
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

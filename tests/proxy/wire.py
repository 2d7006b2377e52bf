"""A relay of TCP connections between clients and the door, which can cut them all as a broken cable would."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

_LOOPBACK = "127.0.0.1"
_CHUNK = 1 << 16


class Relay:
    """An async context manager; a client takes `address` for the door."""

    def __init__(self, door: str) -> None:
        self.address = ""
        self._host, _, self._port = door.rpartition(":")
        self._ends: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._accepted, _LOOPBACK, 0)
        self.address = f"{_LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
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

    def _open(self) -> list[asyncio.StreamWriter]:
        return [end for end in self._ends if not end.is_closing()]

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, thither = await asyncio.open_connection(self._host, int(self._port))
        except OSError:
            writer.transport.abort()
            return
        self._ends |= {writer, thither}
        try:
            await asyncio.gather(_pass(reader, thither), _pass(there, writer))
        finally:
            self._ends -= {writer, thither}
            for end in (writer, thither):
                end.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()

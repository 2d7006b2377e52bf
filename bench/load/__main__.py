"""`python -m bench.load DOOR`: a load generator that reads requests from stdin, one line of JSON each, until its end.

    {"do": "connect", "devices": [[user, token, home, conversation], …]}
    {"do": "send", "senders": [numbers], "window": 4 or "per_second": 200, "receipts": [numbers]}
    {"do": "watch", "watched": [[numbers of the devices that device 0 watches], …]}
    {"do": "change", "interval": 60}
    {"do": "count"}

It replies to each request with a line of JSON, the snapshot of LoadCounters. After a failure the last line is
`{"error": "…"}`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import Any, Final

import uvloop

from bench.load.counters import LoadCounters
from bench.load.device import Device, DeviceIdentity
from bench.load.presence_pattern import PresencePattern
from bench.load.send_patterns import send_paced, send_windowed

MAX_CONCURRENT_CONNECTS: Final = 50
CONNECT_TIMEOUT_S: Final = 30.0
# Many devices watch, and are told the first changes, within this time.
WATCH_TIMEOUT_S: Final = 300.0


class StreamEnded(Exception):
    """The stream of a device ended unexpectedly."""


class LoadProcess:
    """The devices of one workload, numbered in the order they were connected."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._devices: list[Device] = []
        self._counters = LoadCounters()
        # Futures that complete only on a failure.
        self._stream_failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watched: list[asyncio.Future[None]] = [self._stream_failure]

    async def run(self) -> None:
        """Execute the requests on stdin until its end. Raise StreamEnded, OSError or TimeoutError."""
        lines = asyncio.StreamReader(limit=1 << 26)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await self._await_unless_failed(lines.readline()):
            _write_reply(await self._await_unless_failed(self._execute(**json.loads(line))))

    async def _await_unless_failed(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.create_task(coroutine)
        await asyncio.wait([task, *self._watched], return_when=asyncio.FIRST_COMPLETED)
        for future in self._watched:
            if future.done():
                task.cancel()
                future.result()
        return await task

    async def _execute(self, do: str, **arguments: Any) -> dict[str, Any]:
        match do:
            case "connect":
                await self._connect([DeviceIdentity(*fields) for fields in arguments["devices"]])
            case "send":
                self._send(**arguments)
            case "watch":
                self._presence = PresencePattern(self._devices, self._counters)
                self._watched.append(asyncio.create_task(self._presence.send_heartbeats()))
                async with asyncio.timeout(WATCH_TIMEOUT_S):
                    await self._presence.watch(arguments["watched"])
            case "change":
                changing = self._presence.change_activities(arguments["interval"])
                self._watched.append(asyncio.create_task(changing))
        return self._counters.take_snapshot()

    async def _connect(self, identities: list[DeviceIdentity]) -> None:
        new = [Device(identity, self._counters, self._on_stream_end) for identity in identities]
        semaphore = asyncio.Semaphore(MAX_CONCURRENT_CONNECTS)

        async def connect(device: Device) -> None:
            async with semaphore:
                await device.connect(self._door)

        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.gather(*map(connect, new))
        self._devices += new

    def _send(self, senders: list[int], receipts: list[int], window: int = 0, per_second: float = 0.0) -> None:
        for number in receipts:
            self._devices[number].sends_receipts = True
        chosen = [self._devices[number] for number in senders]
        if window:
            send_windowed(chosen, window)
        else:
            self._watched.append(asyncio.create_task(send_paced(chosen, per_second)))

    def _on_stream_end(self, reason: str) -> None:
        if not self._stream_failure.done():
            self._stream_failure.set_exception(StreamEnded(reason))


def _write_reply(reply: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()


async def _main(door: str) -> None:
    try:
        await LoadProcess(door).run()
    except TimeoutError:
        _write_reply({"error": "devices were not connected, or not told the presence of others, in time"})
    except (StreamEnded, OSError) as error:
        _write_reply({"error": str(error)})


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))

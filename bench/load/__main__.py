"""`python -m bench.load DOOR`: does what it is told on its standard input, a line of JSON each, until that ends.

    {"do": "connect", "devices": [[user, token, home, conversation], …]}
    {"do": "send", "senders": [numbers], "window": 4 or "per_second": 200, "receipts": [numbers]}
    {"do": "count"}

Each is answered by a line; the last one by a Tally. `{"trouble": "…"}` is the last line when something went wrong.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import Any, Final

import uvloop

from bench.load.counters import LoadCounters
from bench.load.device import Device, Identity
from bench.load.send_patterns import send_paced, send_windowed

MAX_CONCURRENT_CONNECTS: Final = 50
CONNECT_TIMEOUT_S: Final = 30.0


class StreamEnded(Exception):
    """The stream of a device ended, which no scene expects."""


class LoadProcess:
    """The devices of one scene, by number in the order they connected."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._devices: list[Device] = []
        self._counters = LoadCounters()
        # Futures that are only ever done when something went wrong.
        self._stream_failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watched: list[asyncio.Future[None]] = [self._stream_failure]

    async def run(self) -> None:
        """Do what standard input says until it ends. Raises StreamEnded, OSError, TimeoutError."""
        lines = asyncio.StreamReader(limit=1 << 26)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await self._await_unless_failed(lines.readline()):
            _write_reply(await self._await_unless_failed(self._execute(**json.loads(line))))

    async def _await_unless_failed(self, doing: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.create_task(doing)
        await asyncio.wait([task, *self._watched], return_when=asyncio.FIRST_COMPLETED)
        for each in self._watched:
            if each.done():
                task.cancel()
                each.result()
        return await task

    async def _execute(self, do: str, **what: Any) -> dict[str, Any]:
        match do:
            case "connect":
                await self._connect([Identity(*each) for each in what["devices"]])
            case "send":
                self._send(**what)
        return self._counters.take_snapshot()

    async def _connect(self, identities: list[Identity]) -> None:
        new = [Device(each, self._counters, self._on_stream_end) for each in identities]
        turns = asyncio.Semaphore(MAX_CONCURRENT_CONNECTS)

        async def one(device: Device) -> None:
            async with turns:
                await device.connect(self._door)

        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.gather(*map(one, new))
        self._devices += new

    def _send(self, senders: list[int], receipts: list[int], window: int = 0, per_second: float = 0.0) -> None:
        for number in receipts:
            self._devices[number].receipts = True
        chosen = [self._devices[number] for number in senders]
        if window:
            send_windowed(chosen, window)
        else:
            self._watched.append(asyncio.create_task(send_paced(chosen, per_second)))

    def _on_stream_end(self, why: str) -> None:
        if not self._stream_failure.done():
            self._stream_failure.set_exception(StreamEnded(why))


def _write_reply(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def _main(door: str) -> None:
    try:
        await LoadProcess(door).run()
    except TimeoutError:
        _write_reply({"trouble": f"devices were not ready within {CONNECT_TIMEOUT_S:.0f} s"})
    except (StreamEnded, OSError) as error:
        _write_reply({"trouble": str(error)})


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))

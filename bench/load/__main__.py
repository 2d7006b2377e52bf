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

from bench.load.counters import Tally
from bench.load.device import Device, Identity
from bench.load.send_patterns import paced, windowed

AT_ONCE: Final = 50
PATIENCE_S: Final = 30.0


class StreamEnded(Exception):
    """The stream of a device ended, which no scene expects."""


class Generator:
    """The devices of one scene, by number in the order they connected."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._devices: list[Device] = []
        self._tally = Tally()
        # Futures that are only ever done when something went wrong.
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._endless: list[asyncio.Future[None]] = [self._ended]

    async def obey(self) -> None:
        """Do what standard input says until it ends. Raises StreamEnded, OSError, TimeoutError."""
        lines = asyncio.StreamReader(limit=1 << 26)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await self._unless_ended(lines.readline()):
            _say(await self._unless_ended(self._do(**json.loads(line))))

    async def _unless_ended(self, doing: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.create_task(doing)
        await asyncio.wait([task, *self._endless], return_when=asyncio.FIRST_COMPLETED)
        for each in self._endless:
            if each.done():
                task.cancel()
                each.result()
        return await task

    async def _do(self, do: str, **what: Any) -> dict[str, Any]:
        match do:
            case "connect":
                await self._connect([Identity(*each) for each in what["devices"]])
            case "send":
                self._send(**what)
        return self._tally.report()

    async def _connect(self, identities: list[Identity]) -> None:
        new = [Device(each, self._tally, self._over) for each in identities]
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(device: Device) -> None:
            async with turns:
                await device.connect(self._door)

        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*map(one, new))
        self._devices += new

    def _send(self, senders: list[int], receipts: list[int], window: int = 0, per_second: float = 0.0) -> None:
        for number in receipts:
            self._devices[number].receipts = True
        chosen = [self._devices[number] for number in senders]
        if window:
            windowed(chosen, window)
        else:
            self._endless.append(asyncio.create_task(paced(chosen, per_second)))

    def _over(self, why: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(StreamEnded(why))


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def _main(door: str) -> None:
    try:
        await Generator(door).obey()
    except TimeoutError:
        _say({"trouble": f"devices were not ready within {PATIENCE_S:.0f} s"})
    except (StreamEnded, OSError) as error:
        _say({"trouble": str(error)})


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))

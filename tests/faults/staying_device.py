"""A device that keeps a stream open in the foreground or in the background, or none, as it is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Self

from parley.chat.v1 import chat_pb2
from tests.raw.device import RawDevice
from tests.raw.presence import BACKGROUND, OFFLINE, ONLINE
from tests.raw.stream import StreamEnded

BEAT_S: Final = 1.0
# A stream without an answer for so long is left for another one.
ANSWER_S: Final = 4.0
PAUSE_S: Final = 0.1
_ACTIVITIES: Final = {ONLINE: chat_pb2.ACTIVITY_FOREGROUND, BACKGROUND: chat_pb2.ACTIVITY_BACKGROUND}


class StayingDevice:
    """Keeps a stream through the door `at` while its `state` is not OFFLINE; an async context manager."""

    def __init__(self, device: RawDevice, state: str, at: str) -> None:
        self.device = device
        self.state = state
        self._at = at
        device.strict = False

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self.device.close()

    async def on_open(self) -> None:
        """Called once a stream was welcomed."""

    def on_tell(self, state: str) -> None:
        """Called before the server is told a state, by `hello` and by every heartbeat."""

    async def on_answer(self, state: str) -> None:
        """Called with the state that the server was told, once it has answered."""

    def on_close(self) -> None:
        """Called once a stream has ended, or could not be had."""

    async def _run(self) -> None:
        while True:
            if self.state != OFFLINE:
                # The stream ended, or nothing came, or none could be had.
                with suppress(AssertionError, StreamEnded):
                    await self._one_stream(self.state)
                await self.device.close()
                self.on_close()
            await asyncio.sleep(PAUSE_S)

    async def _one_stream(self, state: str) -> None:
        self.on_tell(state)
        self.device.activity = _ACTIVITIES[state]
        await self.device.open(at=self._at)
        await self.on_open()
        await self.on_answer(state)
        while (state := self.state) != OFFLINE:
            self.on_tell(state)
            await self.device.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest(activity=_ACTIVITIES[state]))
            await self.device.stream.next_frame("heartbeat", ANSWER_S)
            await self.on_answer(state)
            await asyncio.sleep(BEAT_S)

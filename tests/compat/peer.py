"""A server of the recorded commit: it calls servers of today with the frames that it sent then."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import grpc

from parley.internal.v1.mesh_pb2 import ExchangeRequest, ExchangeResponse, MeshBatch, MeshFrame, MeshHello
from tests.eventually import eventually
from tests.raw.stream import Metadata

EXCHANGE = "/parley.internal.v1.MeshService/Exchange"
REPORT = "/parley.internal.v1.PresenceReportService/Report"


class RecordedPeer:
    """A chat server by its frames alone, on one stream to a chat server. `answers` has what came, by the id asked."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata, server_id: str) -> None:
        self.answers: dict[int, MeshFrame] = {}
        self.ended: BaseException | None = None
        self._call: Any = channel.stream_stream(EXCHANGE)(metadata=metadata)
        self._server_id = server_id
        self._sent = 0
        self._reading = asyncio.create_task(self._read())

    async def __aenter__(self) -> Self:
        hello = MeshHello(server_id=self._server_id, started_ms=1)
        await self._write(MeshBatch(hello=hello))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def send(self, frame: MeshFrame) -> int:
        """Send a frame under the next id, and return the id."""
        self._sent += 1
        frame.frame_id, frame.answers_frame_id = self._sent, 0
        await self._write(MeshBatch(frames=[frame]))
        return self._sent

    async def ask(self, frame: MeshFrame) -> MeshFrame:
        """Send a frame and return the answer. Raises AssertionError if none comes."""
        asked = await self.send(frame)
        await eventually(lambda: asked in self.answers)
        return self.answers[asked]

    async def _write(self, batch: MeshBatch) -> None:
        await self._call.write(ExchangeRequest(batch=batch).SerializeToString())

    async def _read(self) -> None:
        while (data := await self._call.read()) is not grpc.aio.EOF:
            for frame in ExchangeResponse.FromString(data).batch.frames:
                if frame.answers_frame_id:
                    self.answers[frame.answers_frame_id] = frame

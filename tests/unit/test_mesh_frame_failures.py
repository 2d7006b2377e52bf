"""A frame that cannot be handled is logged and skipped; the peer stream and later frames are unaffected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from chat_service.mesh.peer_stream import PeerStream
from parley.internal.v1.mesh_pb2 import Attach, Attached, Detach, MeshBatch, MeshFrame
from tests.eventually import eventually


class StreamUnderTest:
    """A peer stream whose peer is the test: `receive` puts frames in, and written batches are recorded."""

    def __init__(self) -> None:
        self.stream = PeerStream(None, lambda: 1)
        self.handled: list[str] = []
        self.written: list[MeshBatch] = []
        self._incoming: asyncio.Queue[MeshBatch | None] = asyncio.Queue()

    def receive(self, *frames: MeshFrame) -> None:
        self._incoming.put_nowait(MeshBatch(frames=frames))

    async def run(self) -> None:
        await self.stream.run(self._incoming.get, self._write, self._handle)

    def end(self) -> None:
        self._incoming.put_nowait(None)

    async def _write(self, data: bytes) -> None:
        self.written.append(MeshBatch.FromString(data))

    def _handle(self, frame: MeshFrame, _: PeerStream) -> None:
        if frame.detach.session_id == "bad":
            raise ValueError("a frame of a later version")
        self.handled.append(frame.detach.session_id)


@pytest.fixture
async def tested() -> AsyncIterator[StreamUnderTest]:
    tested = StreamUnderTest()
    task = asyncio.create_task(tested.run())
    yield tested
    assert not task.done(), "the peer stream ended"
    tested.end()
    await task


def detach(number: int, session_id: str) -> MeshFrame:
    return MeshFrame(frame_id=number, detach=Detach(session_id=session_id))


def failed_frames() -> float:
    return REGISTRY.get_sample_value("parley_mesh_frames_failed_total") or 0.0


async def test_frames_around_a_failing_one_are_handled(tested: StreamUnderTest) -> None:
    before = failed_frames()
    with capture_logs() as logged:
        tested.receive(detach(1, "one"), detach(2, "bad"), detach(3, "three"))
        tested.receive(detach(4, "four"))
        await eventually(lambda: tested.written and tested.written[-1].acknowledged_frame_id == 4)
    assert tested.handled == ["one", "three", "four"]
    assert failed_frames() == before + 1
    failures = [line for line in logged if line["event"] == "peer frame failed"]
    assert [(line["kind"], line["log_level"], line["exc_info"]) for line in failures] == [("detach", "error", True)]


async def test_failing_reply_callback_does_not_affect_others(tested: StreamUnderTest) -> None:
    answers: list[MeshFrame | None] = []

    def refuse(_: MeshFrame | None) -> None:
        raise KeyError("the caller is gone")

    before = failed_frames()
    for answered in (refuse, answers.append):
        tested.stream.request(MeshFrame(attach=Attach(session_id="s")), answered)
    tested.receive(*(MeshFrame(frame_id=n, answers_frame_id=n, attached=Attached()) for n in (1, 2)))
    await eventually(lambda: answers)
    assert answers[0] is not None
    assert failed_frames() == before + 1

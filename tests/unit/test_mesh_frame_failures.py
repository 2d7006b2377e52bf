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


class Listener:
    """A peer stream whose peer is the test: `receive` puts frames in, and written batches are recorded."""

    def __init__(self) -> None:
        self.link = PeerStream(None, lambda: 1)
        self.taken: list[str] = []
        self.said: list[MeshBatch] = []
        self._heard: asyncio.Queue[MeshBatch | None] = asyncio.Queue()

    def hear(self, *frames: MeshFrame) -> None:
        self._heard.put_nowait(MeshBatch(frames=frames))

    async def run(self) -> None:
        await self.link.run(self._heard.get, self._say, self._take)

    def end(self) -> None:
        self._heard.put_nowait(None)

    async def _say(self, data: bytes) -> None:
        self.said.append(MeshBatch.FromString(data))

    def _take(self, frame: MeshFrame, _: PeerStream) -> None:
        if frame.detach.session_id == "bad":
            raise ValueError("a frame of a later version")
        self.taken.append(frame.detach.session_id)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    task = asyncio.create_task(listener.run())
    yield listener
    assert not task.done(), "the peer stream ended"
    listener.end()
    await task


def detach(number: int, session_id: str) -> MeshFrame:
    return MeshFrame(frame_id=number, detach=Detach(session_id=session_id))


def not_taken() -> float:
    return REGISTRY.get_sample_value("parley_mesh_frames_failed_total") or 0.0


async def test_frames_around_a_failing_one_are_handled(listener: Listener) -> None:
    before = not_taken()
    with capture_logs() as logged:
        listener.hear(detach(1, "one"), detach(2, "bad"), detach(3, "three"))
        listener.hear(detach(4, "four"))
        await eventually(lambda: listener.said and listener.said[-1].acknowledged_frame_id == 4)
    assert listener.taken == ["one", "three", "four"]
    assert not_taken() == before + 1
    told = [line for line in logged if line["event"] == "peer frame failed"]
    assert [(line["kind"], line["log_level"], line["exc_info"]) for line in told] == [("detach", "error", True)]


async def test_failing_reply_callback_does_not_affect_others(listener: Listener) -> None:
    answers: list[MeshFrame | None] = []

    def refuse(_: MeshFrame | None) -> None:
        raise KeyError("the caller is gone")

    before = not_taken()
    for answered in (refuse, answers.append):
        listener.link.request(MeshFrame(attach=Attach(session_id="s")), answered)
    listener.hear(*(MeshFrame(frame_id=n, answers_frame_id=n, attached=Attached()) for n in (1, 2)))
    await eventually(lambda: answers)
    assert answers[0] is not None
    assert not_taken() == before + 1

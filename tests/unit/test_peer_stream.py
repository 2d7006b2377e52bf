"""A peer stream numbers its frames, acknowledges received ones, and reports lost ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from chat_service.mesh import peer_stream as stream_module
from chat_service.mesh.peer_stream import PeerStream
from parley.internal.v1.mesh_pb2 import Attach, Attached, Detach, MeshBatch, MeshFrame, MeshHello
from tests.eventually import eventually


class StreamPair:
    """Two peer streams joined by queues; `batches` records the left one's output, `answers` the right one's."""

    def __init__(self) -> None:
        self.left, self.right = PeerStream(MeshHello(server_id="left"), lambda: 7), PeerStream(None, lambda: 8)
        self.received: list[MeshFrame] = []
        self.batches: list[MeshBatch] = []
        self.answers: list[MeshBatch] = []
        self._to_left: asyncio.Queue[MeshBatch | None] = asyncio.Queue()
        self._to_right: asyncio.Queue[MeshBatch | None] = asyncio.Queue()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.left.run(self._to_left.get, self._send_right, lambda *_: None))
            group.create_task(self.right.run(self._to_right.get, self._send_left, self._handle))

    def end(self) -> None:
        for queue in (self._to_left, self._to_right):
            queue.put_nowait(None)

    async def _send_right(self, data: bytes) -> None:
        self.batches.append(MeshBatch.FromString(data))
        await self._to_right.put(self.batches[-1])

    async def _send_left(self, data: bytes) -> None:
        self.answers.append(MeshBatch.FromString(data))
        await self._to_left.put(self.answers[-1])

    def _handle(self, frame: MeshFrame, stream: PeerStream) -> None:
        self.received.append(frame)
        if frame.WhichOneof("body") == "attach":
            stream.respond(frame.frame_id, MeshFrame(attached=Attached()))


@pytest.fixture
async def pair() -> AsyncIterator[StreamPair]:
    pair = StreamPair()
    task = asyncio.create_task(pair.run())
    yield pair
    pair.end()
    await task


def attach() -> MeshFrame:
    return MeshFrame(attach=Attach(session_id="s"))


async def request_attach(stream: PeerStream, trace: str = "") -> MeshFrame | None:
    answer: asyncio.Future[MeshFrame | None] = asyncio.get_running_loop().create_future()
    stream.request(attach(), answer.set_result, trace)
    return await answer


async def test_frames_carry_ids_acknowledgements_revision_and_trace(pair: StreamPair) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    pair.left.send(MeshFrame(detach=Detach(session_id="s")))
    assert (await request_attach(pair.left, trace)) is not None
    first = pair.batches[0]
    assert first.hello.server_id == "left"
    assert first.ring_revision == 7
    assert [frame.frame_id for frame in pair.received] == [1, 2]
    assert [frame.traceparent for frame in pair.received] == ["", trace]
    answer = pair.answers[0]
    assert not answer.HasField("hello")
    assert (answer.ring_revision, answer.acknowledged_frame_id) == (8, 2)
    assert [(frame.frame_id, frame.answers_frame_id) for frame in answer.frames] == [(1, 2)]
    assert (await request_attach(pair.left)) is not None
    # The right stream's reply was acknowledged with the next request at the latest.
    question = next(batch for batch in pair.batches if batch.frames and batch.frames[-1].frame_id == 3)
    assert question.acknowledged_frame_id == 1


async def test_waiting_frames_are_sent_in_one_batch(pair: StreamPair) -> None:
    for _ in range(100):
        pair.left.send(MeshFrame(detach=Detach(session_id="s")))
    await request_attach(pair.left)
    assert len([batch for batch in pair.batches if batch.frames]) == 1


async def test_pending_requests_of_broken_stream_get_none() -> None:
    pair = StreamPair()
    answers: list[MeshFrame | None] = []
    pair.left.request(attach(), answers.append)
    task = asyncio.create_task(pair.left.run(pair._to_left.get, pair._send_right, lambda *_: None))
    pair.end()
    await task
    assert answers == [None]


async def test_full_queue_refuses_frames_and_notifies_the_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_module, "QUEUE_BYTES", 100)
    pair = StreamPair()
    answers: list[MeshFrame | None] = []
    sent = [pair.left.send(attach()) for _ in range(50)]
    pair.left.request(attach(), answers.append)
    assert not all(sent)
    assert answers == [None]
    task = asyncio.create_task(pair.run())
    await eventually(lambda: pair.received and pair.received[-1].WhichOneof("body") == "missed")
    assert len(pair.received) == sum(sent) + 1
    pair.end()
    await task


async def test_lag_is_measured_when_a_batch_is_acknowledged(pair: StreamPair) -> None:
    before = measured_lags()
    await request_attach(pair.left)
    # The left stream's batch, which the answer acknowledged; the right one's may be acknowledged by now too.
    assert measured_lags() >= before + 1
    await request_attach(pair.left)
    assert measured_lags() >= before + 2


async def test_lag_is_measured_once_at_the_acknowledgement() -> None:
    stream, written = PeerStream(None, lambda: 1), asyncio.Event()
    peer: asyncio.Queue[MeshBatch | None] = asyncio.Queue()

    async def write(_: bytes) -> None:
        written.set()

    before = measured_lags()
    task = asyncio.create_task(stream.run(peer.get, write, lambda *_: None))
    stream.send(attach())
    await written.wait()
    peer.put_nowait(MeshBatch(acknowledged_frame_id=0))
    await eventually(peer.empty)
    assert measured_lags() == before
    peer.put_nowait(MeshBatch(acknowledged_frame_id=1))
    await eventually(lambda: measured_lags() == before + 1)
    peer.put_nowait(MeshBatch(acknowledged_frame_id=1))
    await eventually(peer.empty)
    assert measured_lags() == before + 1
    peer.put_nowait(None)
    await task


def measured_lags() -> float:
    return REGISTRY.get_sample_value("parley_mesh_lag_seconds_count") or 0.0

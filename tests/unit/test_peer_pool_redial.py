"""A broken peer stream is dialled again soon; a refused one with growing delays."""

from __future__ import annotations

import time

import pytest

from chat_service.mesh import peer_pool
from parley.internal.v1.mesh_pb2 import ExchangeResponse, MeshBatch, MeshHello
from servicekit.failure import Failure
from servicekit.ring import RingMember
from servicekit.rpc import ByteStream, Call, service_handler
from servicekit.server import Server
from tests.eventually import eventually
from tests.unit.test_peer_pool import CREDENTIAL, DIALS, LISTENS, MESH, PoolUnderTest, closed_port, running

# Ten doublings of the first delay are longer than any test waits.
FIRST_PAUSE_S, MAX_PAUSE_S = 0.02, 1000.0


class FailingMesh:
    """A mesh service that fails every stream, before or after its hello, and counts the streams."""

    def __init__(self, hello: bool) -> None:
        self.dialled = 0
        self._hello = hello

    async def Exchange(self, stream: ByteStream, _: Call) -> None:
        self.dialled += 1
        if self._hello:
            batch = MeshBatch(hello=MeshHello(server_id=LISTENS))
            await stream.write(ExchangeResponse(batch=batch).SerializeToString())
        raise Failure("broken off", code="UNAVAILABLE")


async def seconds_for(streams_broken: int, mesh: FailingMesh) -> float:
    """Return the seconds until the service was dialled `streams_broken` times."""
    server = Server("127.0.0.1:0", [service_handler(MESH, mesh, authenticate=CREDENTIAL.check)], [MESH.full_name])
    address = f"127.0.0.1:{await server.start()}"
    peer = PoolUnderTest(RingMember(DIALS, "", f"127.0.0.1:{closed_port()}", 0), RingMember(LISTENS, "", address, 0))
    begun = time.monotonic()
    try:
        async with running(peer):
            await eventually(lambda: mesh.dialled >= streams_broken)
    finally:
        await server.stop(0)
    return time.monotonic() - begun


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_pool, "FIRST_PAUSE_S", FIRST_PAUSE_S)
    monkeypatch.setattr(peer_pool, "MAX_PAUSE_S", MAX_PAUSE_S)


async def test_broken_stream_is_dialled_again_without_backoff() -> None:
    await seconds_for(15, FailingMesh(hello=True))


async def test_refused_stream_is_dialled_with_growing_delays() -> None:
    assert await seconds_for(5, FailingMesh(hello=False)) >= FIRST_PAUSE_S * (1 + 2 + 4 + 8)

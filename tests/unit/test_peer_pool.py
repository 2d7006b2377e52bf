"""A replaced peer stream fails its pending requests at once, and its later end is ignored."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from chat_service.mesh.peer_pool import SKIP_AFTER_S, MeshServicer, PeerPool
from chat_service.mesh.peer_stream import PeerStream
from parley.internal.v1 import mesh_pb2
from parley.internal.v1.mesh_pb2 import Attach, Attached, MeshFrame
from servicekit.auth import ServiceCredential
from servicekit.config import split_address
from servicekit.membership import Membership
from servicekit.ring import Ring, RingMember
from servicekit.rpc import service_handler
from servicekit.server import Server
from tests.eventually import eventually

MESH = mesh_pb2.DESCRIPTOR.services_by_name["MeshService"]
CREDENTIAL = ServiceCredential("a" * 64)
# The lower id dials.
DIALS, LISTENS = "a", "b"


class FixedMembership(Membership):
    """A membership with a fixed ring and without etcd, which records expelled and skipped members."""

    def __init__(self, me: RingMember, *others: RingMember) -> None:
        self.me = me
        self.expelled: list[str] = []
        self.skipped: set[str] = set()
        self.etcd_answers = True
        self._ring = Ring.from_members([me, *others], 1)
        self._subscribers: list[Callable[[Ring, Ring], None]] = []

    def change(self, *others: RingMember, announced: bool = True) -> None:
        """Replace the other members, with or without a change of the ring that subscribers are told."""
        old, self._ring = self._ring, Ring.from_members([self.me, *others], self._ring.revision + 1)
        for subscriber in self._subscribers if announced else ():
            subscriber(old, self._ring)

    @property
    def ring(self) -> Ring:
        return self._ring

    def subscribe(self, callback: Callable[[Ring, Ring], None]) -> Callable[[], None]:
        self._subscribers.append(callback)
        return lambda: None

    @property
    def registered(self) -> Mapping[str, RingMember]:
        return self._ring.members

    async def expel_member(self, server_id: str, started_ms: int) -> bool:
        if self.etcd_answers:
            self.expelled.append(server_id)
        return self.etcd_answers

    def skip_member(self, server_id: str, started_ms: int) -> None:
        self.skipped.add(server_id)

    def restore_member(self, server_id: str) -> None:
        self.skipped.discard(server_id)


class PoolUnderTest:
    """The peer pool of one server. It answers `attach` if `answers`, and records broken peers and received frames."""

    def __init__(self, me: RingMember, *others: RingMember, answers: bool = True) -> None:
        self.membership = FixedMembership(me, *others)
        self.broken: list[str] = []
        self.received: list[str] = []
        self._answers = answers
        self.pool = PeerPool(self.membership, CREDENTIAL, self._handle, self.broken.append)

    def stream(self, peer: str) -> PeerStream:
        stream = self.pool.stream_to(peer)
        assert stream is not None, "no peer stream"
        return stream

    def request(self, peer: str) -> list[MeshFrame | None]:
        """Send a request; return a list that receives its reply."""
        answers: list[MeshFrame | None] = []
        self.stream(peer).request(MeshFrame(attach=Attach(session_id="s")), answers.append)
        return answers

    def _handle(self, peer: str, frame: MeshFrame, stream: PeerStream) -> None:
        self.received.append(frame.attach.session_id)
        if self._answers:
            stream.respond(frame.frame_id, MeshFrame(attached=Attached()))


def open_streams() -> float:
    return REGISTRY.get_sample_value("parley_mesh_peer_streams") or 0.0


def closed_port() -> int:
    """Return a port that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@asynccontextmanager
async def running(peer: PoolUnderTest) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(peer.pool.run())
    yield task
    await end(task)


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


class PeerPair:
    """A listening server, and dialling servers that act as successive processes with one id."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.dialler = RingMember(DIALS, "", f"127.0.0.1:{closed_port()}", 0)
        self.listener = PoolUnderTest(RingMember(LISTENS, "", "", 0), self.dialler)

    async def open(self) -> None:
        handler = service_handler(MESH, MeshServicer(self.listener.pool), authenticate=CREDENTIAL.check)
        server = Server("127.0.0.1:0", [handler], [MESH.full_name])
        await self._stack.enter_async_context(running(self.listener))
        self.address = f"127.0.0.1:{await server.start()}"
        self._stack.push_async_callback(server.stop, 0)

    async def dial(self, answers: bool = True) -> tuple[PoolUnderTest, asyncio.Task[None]]:
        """Start another dialling server; return it once the listener has its stream."""
        before = self.listener.pool.stream_to(DIALS)
        peer = PoolUnderTest(self.dialler, RingMember(LISTENS, "", self.address, 0), answers=answers)
        task = await self._stack.enter_async_context(running(peer))
        await eventually(lambda: self.listener.pool.stream_to(DIALS) not in {None, before})
        return peer, task


@pytest.fixture
async def pair() -> AsyncIterator[PeerPair]:
    before = open_streams()
    async with AsyncExitStack() as stack:
        pair = PeerPair(stack)
        await pair.open()
        yield pair
    assert open_streams() == before


async def test_pending_requests_of_replaced_stream_fail_at_once(pair: PeerPair) -> None:
    first, _ = await pair.dial(answers=False)
    answers = pair.listener.request(DIALS)
    await eventually(lambda: first.received)
    assert answers == []
    await pair.dial()
    assert answers == [None]
    assert pair.listener.broken == [DIALS], "pending requests fail when the stream is replaced"
    again = pair.listener.request(DIALS)
    await eventually(lambda: again)
    assert again[0] is not None
    assert again[0].HasField("attached")


async def test_end_of_replaced_stream_does_not_affect_its_successor(pair: PeerPair) -> None:
    before = open_streams()
    _, old = await pair.dial()
    second, new = await pair.dial()
    assert open_streams() == before + 4, "two ends of two streams"
    assert pair.listener.broken == [DIALS], "reported when it was replaced"
    current = pair.listener.stream(DIALS)
    replies = pair.listener.request(DIALS)
    await end(old)
    await eventually(lambda: open_streams() == before + 2)
    assert pair.listener.broken == [DIALS], "not reported again"
    assert pair.listener.pool.stream_to(DIALS) is current
    await eventually(lambda: replies)
    assert replies[0] is not None
    answers = second.request(LISTENS)
    await eventually(lambda: answers)
    assert answers[0] is not None
    assert pair.listener.membership.expelled == []
    await end(new)
    await eventually(lambda: pair.listener.broken == [DIALS, DIALS])
    assert pair.listener.pool.stream_to(DIALS) is None
    # No server listens at the dialling member's address: the member is dead, and expelled only now.
    await eventually(lambda: pair.listener.membership.expelled == [DIALS])


async def lose_peer(pair: PeerPair) -> FixedMembership:
    """Let the dialling server die while etcd is unreachable; return the membership of the listening one."""
    membership = pair.listener.membership
    membership.etcd_answers = False
    _, task = await pair.dial()
    await end(task)
    return membership


async def test_dead_peer_is_skipped_while_etcd_is_unreachable_and_expelled_once_it_answers(pair: PeerPair) -> None:
    died = time.monotonic()
    membership = await lose_peer(pair)
    await eventually(lambda: membership.skipped == {DIALS})
    assert time.monotonic() - died >= SKIP_AFTER_S
    membership.etcd_answers = True
    await eventually(lambda: membership.expelled == [DIALS])


async def test_skipped_peer_is_restored_once_it_accepts_connections(pair: PeerPair) -> None:
    membership = await lose_peer(pair)
    await eventually(lambda: membership.skipped == {DIALS})
    host, port = split_address(pair.dialler.internal_address)
    async with await asyncio.start_server(lambda _, writer: writer.close(), host, port):
        await eventually(lambda: not membership.skipped)
    assert membership.expelled == []


async def test_skipped_peer_is_restored_by_its_stream(pair: PeerPair) -> None:
    membership = await lose_peer(pair)
    await eventually(lambda: membership.skipped == {DIALS})
    # It still refuses connections, and has opened a stream itself.
    await pair.dial()
    await eventually(lambda: not membership.skipped)


async def test_server_whose_record_went_without_a_ring_change_is_dialled_once_it_is_back(pair: PeerPair) -> None:
    dialler = PoolUnderTest(pair.dialler, RingMember(LISTENS, "", f"127.0.0.1:{closed_port()}", 0))
    async with running(dialler):
        await eventually(lambda: dialler.pool._dialling)
        # As that of a skipped member, which is not in the ring.
        dialler.membership.change(announced=False)
        await eventually(lambda: all(loop.done() for loop in dialler.pool._dialling.values()))
        dialler.membership.change(RingMember(LISTENS, "", pair.address, 1))
        await eventually(lambda: dialler.pool.stream_to(LISTENS))

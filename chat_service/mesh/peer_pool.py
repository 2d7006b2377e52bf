"""The links of this server: dialled by the lower server id, kept up, and examined when they break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import grpc
import structlog
from prometheus_client import Gauge

from chat_service.mesh.peer_stream import PeerStream, Read, Write
from chat_service.wire.tags import encode_bytes_field
from parley.internal.v1.mesh_pb2 import ExchangeRequest, ExchangeResponse, MeshBatch, MeshFrame, MeshHello
from servicekit.auth import ServiceCredential
from servicekit.config import split_address
from servicekit.failure import Failure
from servicekit.membership import Membership
from servicekit.ring import RingMember
from servicekit.rpc import ByteStream, Call
from servicekit.tasks import cancel_requested

EXCHANGE: Final = "/parley.internal.v1.MeshService/Exchange"
BATCH: Final = 1
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
PROBE_TIMEOUT_S: Final = 1.0
OPTIONS: Final = [
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
# What reading from and writing to a stream raise when it is over.
STREAM_ERRORS: Final = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)

_links = Gauge("parley_mesh_links", "Links to other chat servers")

log = structlog.get_logger("mesh")

HandleFrame = Callable[[str, MeshFrame, PeerStream], None]
OnClosed = Callable[[str], None]


class PeerPool:
    """A link to each other server of the ring; `take` gets the frames, `broken` is told of each link that ends."""

    def __init__(
        self, membership: Membership, credential: ServiceCredential, take: HandleFrame, broken: OnClosed
    ) -> None:
        self._membership = membership
        self._credential = credential
        self._handle = take
        self._on_closed = broken
        self._streams: dict[str, PeerStream] = {}
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()
        self._closing = False

    def stream_to(self, server_id: str) -> PeerStream | None:
        """The link to a server, if there is one now."""
        return self._streams.get(server_id)

    async def run(self) -> None:
        """Dial who has a higher id, as long as it is in the ring, until cancelled."""
        async with self._group:
            unsubscribe = self._membership.subscribe(lambda _, __: self._apply_ring())
            try:
                self._apply_ring()
                await asyncio.Event().wait()
            finally:
                self._closing = True
                unsubscribe()

    async def accept(self, stream: ByteStream) -> None:
        """Serve a stream that another server dialled."""

        async def read() -> MeshBatch | None:
            data = await stream.read()
            return None if data is None else ExchangeRequest.FromString(data).batch

        first = await read()
        if first is None or not first.hello.server_id:
            raise Failure("the first batch must say hello", code="INVALID_ARGUMENT", reason="HELLO_MISSING")
        # It may carry frames beside the hello.
        unread = [first]

        async def read_on() -> MeshBatch | None:
            return unread.pop() if unread else await read()

        await self._run_stream(first.hello.server_id, self._new_stream(), read_on, stream.write)

    def _apply_ring(self) -> None:
        me, members = self._membership.me.server_id, self._membership.ring.members
        for name in self._streams.keys() - members.keys():
            # It may hang rather than be dead, and the link with it: whoever is asked instead now must not wait.
            self._streams[name].fail_pending()
        wanted = {name for name in members if name > me}
        for name in self._dialling.keys() - wanted:
            self._dialling.pop(name).cancel()
        for name in wanted - self._dialling.keys():
            self._dialling[name] = self._group.create_task(self._connect_loop(name))

    async def _connect_loop(self, server_id: str) -> None:
        pause = FIRST_PAUSE_S

        def greeted() -> None:
            # Here, for nearly every link ends by breaking, also one that lived for hours.
            nonlocal pause
            pause = FIRST_PAUSE_S

        while not cancel_requested() and (member := self._membership.ring.members.get(server_id)) is not None:
            try:
                await self._dial(member, greeted)
            # Its two directions are tasks, so what breaks a link comes as a group.
            except* STREAM_ERRORS as errors:
                log.info("no link", peer=server_id, error=_describe(errors.exceptions[0]))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _dial(self, member: RingMember, greeted: Callable[[], None]) -> None:
        """A link to `member` until it ends. Calls `greeted` when something comes: who refuses us connects as well."""
        async with grpc.aio.insecure_channel(member.internal_address, options=OPTIONS) as channel:
            exchange: Any = channel.stream_stream(EXCHANGE)
            call = exchange(metadata=self._credential.metadata(), wait_for_ready=False)

            async def read() -> MeshBatch | None:
                data: object = await call.read()
                if isinstance(data, bytes):
                    greeted()
                return ExchangeResponse.FromString(data).batch if isinstance(data, bytes) else None

            await call.wait_for_connection()
            await self._run_stream(member.server_id, self._new_stream(), read, call.write)

    async def _run_stream(self, peer: str, link: PeerStream, read: Read, write: Write) -> None:
        if (old := self._streams.pop(peer, None)) is not None:
            # Half open: this side had not noticed yet. What was on it is lost now, not when it ends.
            old.fail_pending()
            self._on_closed(peer)
        self._streams[peer] = link
        _links.inc()
        log.info("link", peer=peer)
        try:
            await link.run(read, lambda batch: write(encode_bytes_field(BATCH, batch)), partial(self._handle, peer))
        finally:
            _links.dec()
            current = self._streams.get(peer) is link
            if current:
                del self._streams[peer]
            # A link that was replaced has been mourned already, and its successor must not be.
            if current and not self._closing:
                log.info("link ended", peer=peer)
                self._on_closed(peer)
                self._group.create_task(self._probe_peer(peer))

    def _new_stream(self) -> PeerStream:
        me = self._membership.me
        hello = MeshHello(server_id=me.server_id, started_ms=me.started_ms)
        return PeerStream(hello, lambda: self._membership.ring.revision)

    async def _probe_peer(self, server_id: str) -> None:
        """Have a peer whose address refuses connections leave the ring at once; its lease would take longer.

        Until it is off the ring or there is a link again: a process that is being killed may lose its connections
        before it stops taking new ones in.
        """
        pause = FIRST_PAUSE_S
        while server_id not in self._streams and (member := self._membership.ring.members.get(server_id)) is not None:
            if await _refuses_connections(member.internal_address):
                log.warning("peer is dead", peer=server_id)
                await self._membership.expel_member(server_id, member.started_ms)
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)


async def _refuses_connections(address: str) -> bool:
    """Whether nobody is there. One that is cut off rather than dead does not say: that is for its lease to decide."""
    host, port = split_address(address)
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except OSError as error:
        return isinstance(error, ConnectionRefusedError)
    return False


def _describe(error: Exception) -> str:
    return error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__


class MeshServicer:
    """Serves MeshService for other chat servers."""

    def __init__(self, links: PeerPool) -> None:
        self._links = links

    async def Exchange(self, stream: ByteStream, _: Call) -> None:
        """A link, for as long as the other side keeps it."""
        await self._links.accept(stream)

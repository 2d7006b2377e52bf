"""The pool of peer streams of this server: the server with the lower id dials and redials each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import grpc
import structlog
from prometheus_client import Gauge

from chat_service.mesh.peer_stream import PeerStream, Read, Write
from parley.internal.v1.mesh_pb2 import ExchangeRequest, ExchangeResponse, MeshBatch, MeshFrame, MeshHello
from servicekit.auth import ServiceCredential
from servicekit.config import split_address
from servicekit.failure import Failure
from servicekit.membership import Membership
from servicekit.proto_fields import encode_bytes_field
from servicekit.ring import RingMember
from servicekit.rpc import ByteStream, Call
from servicekit.tasks import Backoff, cancel_requested
from servicekit.transport import PLAIN_TEXT, Transport

SERVICE: Final = "chat"
EXCHANGE: Final = "/parley.internal.v1.MeshService/Exchange"
BATCH_FIELD: Final = 1
FIRST_PAUSE_S: Final = 0.05
MAX_PAUSE_S: Final = 1.0
PROBE_TIMEOUT_S: Final = 1.0
SKIP_AFTER_S: Final = 2.0
OPTIONS: Final = [
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
# Reading from and writing to a stream that has ended raise one of these.
STREAM_ERRORS: Final = (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError)

_peer_streams = Gauge("parley_mesh_peer_streams", "Open streams to other chat servers")

log = structlog.get_logger("mesh")

HandleFrame = Callable[[str, MeshFrame, PeerStream], None]
OnClosed = Callable[[str], None]


class PeerPool:
    """One stream to each other server of the ring.

    `handle_frame` is called with each request and publication of a peer, `on_closed` with the id of each peer whose
    stream ended or was replaced.
    """

    def __init__(
        self,
        membership: Membership,
        credential: ServiceCredential,
        handle_frame: HandleFrame,
        on_closed: OnClosed,
        transport: Transport = PLAIN_TEXT,
    ) -> None:
        self._membership = membership
        self._credential = credential
        self._handle_frame = handle_frame
        self._on_closed = on_closed
        self._transport = transport
        self._streams: dict[str, PeerStream] = {}
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()
        self._closing = False

    def stream_to(self, server_id: str) -> PeerStream | None:
        """Return the open stream to a server, or None."""
        return self._streams.get(server_id)

    @property
    def stream_count(self) -> int:
        """The number of open streams."""
        return len(self._streams)

    async def run(self) -> None:
        """Dial every server of the ring that has a higher id, and redial it when its stream ends, until cancelled."""
        async with self._group:
            unsubscribe = self._membership.subscribe(lambda _, __: self._apply_ring())
            try:
                self._apply_ring()
                await asyncio.Event().wait()
            finally:
                self._closing = True
                unsubscribe()

    async def accept(self, stream: ByteStream) -> None:
        """Serve a stream that another server dialled, until it ends. Raises Failure if its first batch has no hello."""

        async def read() -> MeshBatch | None:
            data = await stream.read()
            return None if data is None else ExchangeRequest.FromString(data).batch

        first = await read()
        if first is None or not first.hello.server_id:
            raise Failure("the first batch must carry hello", code="INVALID_ARGUMENT", reason="HELLO_MISSING")
        # The batch of the hello may carry frames as well.
        unread = [first]

        async def read_next() -> MeshBatch | None:
            return unread.pop() if unread else await read()

        await self._run_stream(first.hello.server_id, self._new_stream(), read_next, stream.write)

    def _apply_ring(self) -> None:
        me = self._membership.me.server_id
        for server_id in self._streams.keys() - self._membership.ring.members.keys():
            # The server may hang, and its stream with it. Fail its requests at once, so that they go to its successors.
            self._streams[server_id].fail_pending()
        # Skipped members too: a stream to one restores it.
        higher_ids = {server_id for server_id in self._membership.registered if server_id > me}
        for server_id in self._dialling.keys() - higher_ids:
            self._dialling.pop(server_id).cancel()
        # The record of a skipped member may have gone without a change of the ring; its loop has ended then.
        self._dialling = {server_id: loop for server_id, loop in self._dialling.items() if not loop.done()}
        for server_id in higher_ids - self._dialling.keys():
            self._dialling[server_id] = self._group.create_task(self._connect_loop(server_id))

    async def _connect_loop(self, server_id: str) -> None:
        backoff = Backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        while not cancel_requested() and (member := self._membership.registered.get(server_id)) is not None:
            try:
                # The first batch resets it, because nearly every stream ends with an error, even one open for hours.
                await self._dial(member, backoff.reset)
            # The two directions of a stream are tasks of a group, so their errors arrive as an exception group.
            except* STREAM_ERRORS as errors:
                log.info("peer stream failed", peer=server_id, error=_describe(errors.exceptions[0]))
            await asyncio.sleep(backoff.next())

    async def _dial(self, member: RingMember, greeted: Callable[[], None]) -> None:
        """Dial `member` and run the stream until it ends.

        Calls `greeted` for each batch received. A connection alone proves nothing: a peer that refuses the stream
        accepts the connection first.
        """
        async with self._transport.open_channel(SERVICE, member.internal_address, OPTIONS) as channel:
            exchange: Any = channel.stream_stream(EXCHANGE)
            call = exchange(metadata=self._credential.metadata(), wait_for_ready=False)

            async def read() -> MeshBatch | None:
                data: object = await call.read()
                if isinstance(data, bytes):
                    greeted()
                return ExchangeResponse.FromString(data).batch if isinstance(data, bytes) else None

            await call.wait_for_connection()
            await self._run_stream(member.server_id, self._new_stream(), read, call.write)

    async def _run_stream(self, peer: str, stream: PeerStream, read: Read, write: Write) -> None:
        if (old := self._streams.pop(peer, None)) is not None:
            # The old stream is half open: its end was not noticed here. Fail its requests now, not when it ends.
            old.fail_pending()
            self._on_closed(peer)
        self._streams[peer] = stream
        _peer_streams.inc()
        log.info("peer stream opened", peer=peer)
        try:
            handle_frame = partial(self._handle_frame, peer)
            await stream.run(read, lambda batch: write(encode_bytes_field(BATCH_FIELD, batch)), handle_frame)
        finally:
            _peer_streams.dec()
            current = self._streams.get(peer) is stream
            if current:
                del self._streams[peer]
            # The end of a replaced stream was reported when it was replaced. Its successor is still open.
            if current and not self._closing:
                log.info("peer stream closed", peer=peer)
                self._on_closed(peer)
                self._group.create_task(self._probe_peer(peer))

    def _new_stream(self) -> PeerStream:
        me = self._membership.me
        hello = MeshHello(server_id=me.server_id, started_ms=me.started_ms)
        return PeerStream(hello, lambda: self._membership.ring.revision)

    async def _probe_peer(self, server_id: str) -> None:
        """Expel a peer from the ring if its address refuses connections, because its lease would expire later.

        The probe is repeated until the peer has left the ring or has a stream again: a process that is being killed may
        lose its connections before it stops accepting new ones. While etcd is unreachable a peer that has refused
        connections for SKIP_AFTER_S is skipped by this server, until it accepts connections or etcd answers.
        """
        clock, backoff = asyncio.get_running_loop(), Backoff(FIRST_PAUSE_S, MAX_PAUSE_S)
        refused_at: float | None = None
        while server_id not in self._streams and (member := self._membership.registered.get(server_id)) is not None:
            if not await _refuses_connections(member.internal_address):
                refused_at = None
                self._membership.restore_member(server_id)
            elif refused_at is None:
                refused_at = clock.time()
                log.warning("peer declared dead", peer=server_id)
            if refused_at is not None:
                if await self._membership.expel_member(server_id, member.started_ms):
                    return
                if clock.time() - refused_at >= SKIP_AFTER_S:
                    self._membership.skip_member(server_id, member.started_ms)
            await asyncio.sleep(backoff.next())
        self._membership.restore_member(server_id)


async def _refuses_connections(address: str) -> bool:
    """Return True if no process listens at `address`.

    An address that does not respond within PROBE_TIMEOUT_S proves nothing, because its host may only be partitioned:
    the lease of the server decides.
    """
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
    """The MeshService for other chat servers."""

    def __init__(self, pool: PeerPool) -> None:
        self._pool = pool

    async def Exchange(self, stream: ByteStream, _: Call) -> None:
        """Serve a peer stream until it ends. Raises Failure if its first batch has no hello."""
        await self._pool.accept(stream)

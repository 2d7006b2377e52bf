"""Random bytes from a device are refused with a reason or served, and other devices' streams stay open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devstack.services import CHAT
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2, entry_pb2
from tests.eventually import eventually
from tests.loop import Loop
from tests.raw.device import RawDevice, new_id
from tests.raw.refusal import LOST_STATUS, Refusal, of_error, of_status
from tests.raw.stream import RawStream, StreamEnded
from tests.raw.world import World

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(300)]

HEARTBEAT: Final = chat_pb2.ConnectRequest(heartbeat=chat_pb2.HeartbeatRequest()).SerializeToString()
HELLO: Final = chat_pb2.ConnectRequest(hello=chat_pb2.Hello()).SerializeToString()
# What may be said of bytes that are no frame, or one at the wrong time; on a stream, and at its beginning.
ENDS: Final = {"FRAME_EMPTY", "FRAME_UNPARSABLE", "HELLO_REPEATED"}
ENDS_AT_ONCE: Final = {"FRAME_EMPTY", "FRAME_UNPARSABLE", "HELLO_MISSING", "FIELD_INVALID"}
# What nobody shall be told for what they say.
FAULTS: Final = {"INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED", "UNAVAILABLE"}
METHODS: Final = (
    "ChatService/SendMessage",
    "ChatService/ListEntries",
    "ChatService/UpdateReceipts",
    "ConversationService/CreateGroup",
    "ConversationService/GetOrCreateDirect",
    "AccountService/UpdateProfile",
)


def frames() -> Iterator[chat_pb2.ConnectRequest]:
    """Return a strategy of well-formed frames of every kind."""
    conversation, content = "a" * 32, entry_pb2.Content(text=entry_pb2.Text(body="words"))
    send = chat_pb2.SendMessageRequest(client_message_id=new_id(), conversation_id=conversation, content=content)
    receipt = chat_pb2.Receipt(conversation_id=conversation, delivered_seq=1, read_seq=1)
    for frame in (
        {"send_message": send},
        {"receipts": chat_pb2.UpdateReceiptsRequest(receipts=[receipt])},
        {"fetch": chat_pb2.Fetch(ranges=[chat_pb2.EntryRange(conversation_id=conversation)])},
        {"heartbeat": chat_pb2.HeartbeatRequest()},
        {"watch_presence": chat_pb2.WatchPresenceRequest(user_ids=[conversation])},
        {"hello": chat_pb2.Hello(cursor=chat_pb2.Cursor(generation=1, time_ms=1))},
    ):
        yield chat_pb2.ConnectRequest(**frame)


@st.composite
def corrupted_frame(draw: st.DrawFn) -> bytes:
    """Return a frame with some bytes changed, removed or inserted."""
    data = bytearray(draw(st.sampled_from([frame.SerializeToString() for frame in frames()])) or b"\0")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(data)


noise = st.one_of(st.binary(max_size=300), corrupted_frame())
often = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)


class HostileConnections:
    """Alice, who sends random bytes, and other users on the same server."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.edge = world.servers[0]
        self.errors_of: Counter[RawStream] = Counter()
        self.refusals = 0

    async def enter(self) -> None:
        """Create and connect all users."""
        self.alice, self.carol, self.dave = await self.world.users("alice", "carol", "dave")
        for each in (self.alice, self.carol, self.dave):
            await each.connect(home=self.edge)
        self.theirs = await self.carol.direct(self.dave)

    async def send_frame(self, data: bytes, *, first: bool) -> None:
        """Send these bytes as alice, on her stream or as the first frame of a new one."""
        end = await self._end_of(data, HEARTBEAT, first=first)
        if end and end.message == LOST_STATUS:
            end = await self._end_of(data, first=first)
        if end:
            assert end.code == "INVALID_ARGUMENT", end
            assert end.reason in (ENDS_AT_ONCE if first else ENDS), end
            self.refusals += 1

    async def _end_of(self, *frames: bytes, first: bool) -> Refusal | None:
        """Return the end of alice's stream after these bytes; None if it stays open."""
        if first:
            await self.alice.close()
            stream = self.alice.dial(home=self.edge)
        else:
            stream = await self._open_stream()
        answered = stream.kinds.count("heartbeat")
        with suppress(StreamEnded):
            for frame in frames:
                await stream.write(frame)
        await eventually(lambda: not stream.open or stream.kinds.count("heartbeat") > answered)
        while stream.kinds.count("error") > self.errors_of[stream]:
            self.errors_of[stream] += 1
            error: chat_pb2.StreamError = await stream.next_frame("error")
            refusal = of_status(error.status)
            assert refusal.code not in FAULTS, refusal
            assert refusal.reason, refusal
        return None if stream.open else await stream.wait_ended()

    async def _open_stream(self) -> RawStream:
        if not self.alice.stream.open:
            await self.alice.connect(home=self.edge)
        return self.alice.stream

    async def call(self, method: str, data: bytes) -> None:
        """Call a method as alice with these bytes as request."""
        channel = self.world.channel(self.world.stack.door)
        call: Any = channel.unary_unary(f"/parley.chat.v1.{method}")
        try:
            await call(data, metadata=self.alice.metadata)
        except grpc.aio.AioRpcError as error:
            refusal = of_error(error)
            assert refusal.code not in FAULTS, refusal
            assert refusal.reason, refusal
            self.refusals += 1

    async def neighbours_talk(self) -> None:
        """Check that the other users can send and receive."""
        await said(self.carol, self.dave, self.theirs)
        for each in (self.carol, self.dave):
            assert each.stream.kinds.count("error") == 0


async def said(one: RawDevice, other: RawDevice, conversation: str) -> None:
    await other.has_all(conversation, await one.sent(conversation, "did you hear that?"))


@pytest.fixture(scope="module")
def connections(quick_calls: Stack, loop: Loop) -> Iterator[HostileConnections]:
    async def enter() -> HostileConnections:
        connections = HostileConnections(await World(quick_calls).__aenter__())
        await connections.enter()
        return connections

    connections = loop.run(enter())
    yield connections
    loop.run(connections.neighbours_talk())
    loop.run(connections.world.__aexit__())


@pytest.fixture(scope="module")
def quick_calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server with rate limits too high to be reached."""
    plenty = {f"PARLEY_{name}": "1000000" for name in ("SENDS_PER_SECOND", "SENDS_BURST")}
    plenty |= {f"PARLEY_{name}": "1000000" for name in ("CALLS_PER_SECOND", "CALLS_BURST")}
    with Stack(tmp_path_factory.mktemp("noise"), chat_servers=1, services=(CHAT,), environment=plenty) as stack:
        yield stack


def test_random_bytes_on_stream_end_with_reason_or_are_ignored(connections: HostileConnections, loop: Loop) -> None:
    @often
    @given(noise)
    def hear(data: bytes) -> None:
        loop.run(connections.send_frame(data, first=False))

    before = connections.refusals
    hear()
    assert connections.refusals > before, "all of it was served"
    loop.run(connections.neighbours_talk())


def test_random_bytes_as_hello_are_refused_with_reason(connections: HostileConnections, loop: Loop) -> None:
    @often
    @given(noise)
    def hear(data: bytes) -> None:
        loop.run(connections.send_frame(data, first=True))

    before = connections.refusals
    hear()
    assert connections.refusals > before, "all of it was served"
    loop.run(connections.neighbours_talk())


def test_random_bytes_as_call_are_refused_with_reason(connections: HostileConnections, loop: Loop) -> None:
    @often
    @given(st.sampled_from(METHODS), noise)
    def ask(method: str, data: bytes) -> None:
        loop.run(connections.call(method, data))

    before = connections.refusals
    ask()
    assert connections.refusals > before, "all of it was served"
    loop.run(connections.neighbours_talk())

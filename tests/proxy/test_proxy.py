"""The proxy passes requests, responses and statuses unchanged, and applies frame faults."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from devstack.stack import Stack
from parley.chat.v1 import chat_pb2, conversation_pb2
from servicekit.failure import Failure
from servicekit.status import to_proto
from tests.eventually import eventually
from tests.proxy.frame_faults import Caller, FaultKind, Filter, FrameFault, calls_of_device
from tests.proxy.rpc import ProxiedStream, Proxy
from tests.proxy.wire import Relay
from tests.raw.stream import StreamEnded
from tests.raw.world import World

pytestmark = pytest.mark.scenario


@pytest.fixture
async def proxy(stack: Stack) -> AsyncIterator[Proxy]:
    async with Proxy(stack.door) as proxy:
        yield proxy


async def test_calls_and_refusals_pass_through(stack: Stack, proxy: Proxy) -> None:
    async with World(stack) as world:
        alice = await world.user("alice")
        assert (await alice.call(chat_pb2.LocateRequest(), at=proxy.address)).home == world.home_of(alice.user_id)
        for wrong in (
            conversation_pb2.GetConversationRequest(conversation_id="0" * 32),
            conversation_pb2.GetConversationRequest(conversation_id="no id"),
        ):
            direct = await alice.refusal(wrong)
            assert direct.reason
            assert await alice.refusal(wrong, at=proxy.address) == direct


async def test_streams_pass_both_ways_until_end(stack: Stack, proxy: Proxy) -> None:
    async with World(stack) as world:
        alice, bob = await world.users("alice", "bob")
        await alice.connect(at=proxy.address)
        first = alice.stream
        conversation = await alice.direct(bob)
        assert await alice.sent(conversation, "hello") == 2
        await alice.has(conversation, "hello")
        await alice.connect()
        assert (await first.final_error()).code_and_reason == ("ABORTED", "SESSION_SUPERSEDED")
        assert (await first.wait_ended()).code_and_reason == ("OK", "")


async def test_stream_follows_routing_header_and_invalid_token_is_refused(stack: Stack, proxy: Proxy) -> None:
    async with World(stack) as world:
        alice = await world.user("alice")
        for bad in ("", "rubbish"):
            stream = alice.dial(at=proxy.address, token=bad)
            assert (await stream.wait_ended()).code == "UNAUTHENTICATED"
        for server in world.servers:
            assert (await alice.connect(at=proxy.address, home=server)).home == world.home_of(alice.user_id)


async def test_stream_records_requests_and_can_be_injected_and_ended(stack: Stack, proxy: Proxy) -> None:
    async with World(stack) as world:
        alice = await world.user("alice")
        await alice.connect(at=proxy.address, home=world.servers[0])
        [stream] = proxy.streams
        assert (stream.caller, stream.hint) == (Caller(alice.user_id, alice.device_id), world.servers[0])
        assert stream.requests[0].HasField("hello")
        await proxy.send_to_all(drain=chat_pb2.Drain(home="elsewhere"))
        assert (await alice.stream.next_frame("drain")).home == "elsewhere"
        await proxy.end_all(to_proto(Failure(code="UNAVAILABLE", reason="SERVER_DRAINING")))
        assert (await alice.stream.final_error()).code_and_reason == ("UNAVAILABLE", "SERVER_DRAINING")
        assert (await alice.stream.wait_ended()).code_and_reason == ("OK", "")
        await eventually(lambda: not stream.open)


async def test_frame_answered_by_proxy_does_not_reach_server(stack: Stack, proxy: Proxy) -> None:
    async def answered(stream: ProxiedStream, request: chat_pb2.ConnectRequest) -> bool:
        if request.HasField("fetch"):
            await stream.send_frame(entries=chat_pb2.Entries())
        return request.HasField("fetch")

    proxy.answered = answered
    async with World(stack) as world:
        alice = await world.user("alice")
        await alice.connect(at=proxy.address)
        await alice.stream.send_frame(fetch=chat_pb2.Fetch(ranges=[chat_pb2.EntryRange(conversation_id="no id")]))
        assert (await alice.stream.next_frame("entries")) == chat_pb2.Entries()
        assert await alice.sent(await alice.direct(await world.user("bob")), "hello") == 2


async def test_cut_connection_ends_streams_and_allows_new_one(stack: Stack) -> None:
    async with World(stack) as world, Relay(stack.door) as relay:
        alice = await world.user("alice")
        await alice.connect(at=relay.address)
        assert relay.cut() == 2
        assert (await alice.stream.wait_ended()).code == "UNAVAILABLE"

        async def reconnect() -> bool:
            # The channel may use the cut connection once more before it notices that it is closed.
            try:
                await alice.connect(at=relay.address)
            except StreamEnded:
                return False
            return True

        await eventually(reconnect)


# What a fault does is pure, and shown without servers.

ALICE, BOB = Caller("a" * 32, "1" * 32), Caller("b" * 32, "2" * 32)


def entry(seq: int, conversation: str = "c") -> bytes:
    told = chat_pb2.Entries()
    told.entries.add(conversation_id=conversation, seq=seq)
    return chat_pb2.ConnectResponse(entries=told).SerializeToString()


def passed(fault: FrameFault, *frames: bytes, caller: Caller = ALICE) -> list[bytes]:
    return [each for frame in frames for each in fault.down(caller, frame)]


FRAMES = [entry(seq) for seq in range(1, 6)]


@pytest.mark.parametrize(
    ("kind", "left"),
    [(FaultKind.DROP, [1, 3, 4, 5]), (FaultKind.DOUBLE, [1, 2, 2, 3, 4, 5]), (FaultKind.SWAP, [1, 3, 2, 4, 5])],
)
def test_exactly_one_frame_is_affected(kind: FaultKind, left: list[int]) -> None:
    fault = FrameFault(kind, nth=2)
    assert passed(fault, *FRAMES) == [entry(seq) for seq in left]
    assert fault.done
    assert fault.hit == [("c", 2)]


def test_fetched_entries_other_frames_and_other_devices_pass_unchanged() -> None:
    fault = FrameFault(FaultKind.DROP, victims=calls_of_device(BOB.device_id))
    fetched = chat_pb2.ConnectResponse.FromString(entry(1))
    fetched.entries.ranges.add(conversation_id="c")
    others = [fetched.SerializeToString(), chat_pb2.ConnectResponse(welcome=chat_pb2.Welcome()).SerializeToString()]
    assert passed(fault, *others, caller=BOB) == others
    assert passed(fault, *FRAMES) == FRAMES
    assert not fault.done
    assert passed(fault, *FRAMES, caller=BOB) == FRAMES[1:]


def test_filter_changes_frames_and_drops_none() -> None:
    def passed(caller: Caller, frame: chat_pb2.ConnectResponse) -> chat_pb2.ConnectResponse | None:
        frame.entries.entries[0].seq += 1
        return frame if caller == ALICE else None

    assert Filter(passed).down(ALICE, entry(1)) == [entry(2)]
    assert Filter(passed).down(BOB, entry(1)) == []


def test_swap_waits_for_frame_of_same_conversation() -> None:
    fault, other = FrameFault(FaultKind.SWAP), entry(1, "another")
    assert passed(fault, entry(1), other) == [other]
    assert passed(fault, entry(2), caller=BOB) == [entry(2)]
    assert passed(fault, entry(2)) == [entry(2), entry(1)]

"""Servers of today read what an earlier commit stored, and understand what its servers send during an upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from devstack.local_http import fetch
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2, entry_pb2
from parley.internal.v1 import mesh_pb2, notify_pb2, presence_report_pb2
from servicekit.member_record import MemberRecord
from tests.compat.comparison import contains
from tests.compat.coverage import MESH, REPORT
from tests.compat.peer import RecordedPeer
from tests.compat.recording import Exchange, Recording
from tests.eventually import eventually
from tests.raw.calls import METHODS
from tests.raw.device import RawDevice, new_id
from tests.raw.directory import credential_of
from tests.raw.pushes import Pushes
from tests.raw.refusal import of_status
from tests.raw.world import World

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(180)]

# What these tell has changed since: who is connected, what is unread, and what was removed.
CHANGING: Final = {
    "CheckDevices",
    "DescribeConversation",
    "DescribeForeground",
    "Claim",
    "EraseUser",
    "EraseDevice",
    "ExportUser",
}


# A field with a number that no message has.
UNKNOWN: Final = b"\xfa\xff\x7f\x03new"


def parse(name: str, data: bytes) -> Message:
    """Return a message of the contract by the full name of its type."""
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name)).FromString(data)


def device_of(world: World, user_id: str, device_id: str) -> RawDevice:
    return world._device(user_id, device_id, world.token(user_id, device_id))


async def test_users_are_told_what_they_were_told(recording: Recording, recorded_world: World) -> None:
    assert len(recording.answers) > 30
    for answer in recording.answers:
        device = device_of(recorded_world, answer.user_id, answer.device_id)
        told = await device.call(parse(answer.request_type, answer.request))
        recorded = parse(METHODS[answer.request_type].output_type.full_name, answer.response)
        assert contains(told, recorded), f"{answer.request_type}: {recorded}\n\nnow: {told}"


async def test_calls_between_services_are_answered_as_they_were(
    recording: Recording, recorded_stack: Stack, recorded_world: World
) -> None:
    called = set[str]()
    for exchange in recording.exchanges:
        method = find_method(exchange)
        if exchange.method in (MESH, REPORT) or [frame.up for frame in exchange.frames] != [True, False]:
            continue
        called.add(method.name)
        channel = recorded_world.channel(recorded_stack.replicas(exchange.service)[0].internal_address)
        unary: Any = channel.unary_unary(exchange.method)
        sent, recorded = (frame.data for frame in exchange.frames)
        told = await unary(sent, metadata=credential_of(recorded_stack), timeout=20)
        if method.name not in CHANGING:
            name = method.output_type.full_name
            assert contains(parse(name, told), parse(name, recorded)), f"{exchange.method}: {parse(name, told)}"
    assert len(called) > 8, called


def find_method(exchange: Exchange) -> MethodDescriptor:
    service, method = exchange.method.removeprefix("/").split("/")
    return descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]


async def test_queued_events_are_pushed_as_they_were(recording: Recording, recorded_world: World) -> None:
    tokens = {each["token"] for each in recording.pushes}
    async with Pushes(recorded_world) as pushes:
        for event in map(notify_pb2.QueuedPush.FromString, recording.events):
            # An event of long ago is too old to be pushed.
            await pushes.add(event)
        await eventually(lambda: shown(pushes.recorded_for(*tokens)) == shown(recording.pushes))


def shown(pushes: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[int, str, str]]:
    """Return what devices show in the end: by token and conversation, the seq, title and text of the newest one."""
    newest: dict[tuple[str, str], tuple[int, str, str]] = {}
    for each in (push for push in pushes if "title" in push):
        place = each["token"], each["conversation_id"]
        newest[place] = max(newest.get(place, (0, "", "")), (each["seq"], each["title"], each["body"]))
    return newest


# After the tests of what is stored, because it appends to it.
async def test_frames_of_chat_servers_are_understood(
    recording: Recording, recorded_stack: Stack, recorded_world: World
) -> None:
    server, kinds = recorded_stack.chat_servers[0], set[str]()
    devices = {each.user_id: device_of(recorded_world, each.user_id, each.device_id) for each in recording.answers}
    before = failed_frames(recorded_stack)
    channel = recorded_world.channel(server.internal_address)
    async with RecordedPeer(channel, credential_of(recorded_stack), "127.0.0.1:1") as peer:
        for frame, answer in requests(recording):
            kind = frame.WhichOneof("body")
            kinds.add(str(kind))
            if answer is None:
                await peer.send(frame)
            elif kind == "append":
                await check_append(devices.get(frame.append.user_id), peer, frame.append)
            else:
                # The stream of a unary call has ended since.
                now = await peer.ask(frame)
                assert now.WhichOneof("body") == (answer if kind != "tell" else "refused"), f"{frame}\n\nnow: {now}"
        # All frames before this one were taken.
        await peer.ask(mesh_pb2.MeshFrame(describe_foreground=mesh_pb2.DescribeForeground(user_id="0" * 32)))
    assert len(kinds) > 15
    assert failed_frames(recorded_stack) == before


async def check_append(device: RawDevice | None, peer: RecordedPeer, append: mesh_pb2.Append) -> None:
    """Append what was appended then, as a new entry: an id of long ago would be refused.

    A change may be refused, as it was made already, but not as unknown. Without a device the user is deleted.
    """
    frame = mesh_pb2.MeshFrame(append=append)
    frame.append.client_message_id = bytes.fromhex(new_id().replace("-", ""))
    frame.append.session_id = ""
    result = (await peer.ask(frame)).append_result
    if result.HasField("refused"):
        assert of_status(result.refused).reason not in ("INTERNAL", "NOT_YET_SERVED"), f"{append}: {result}"
    if append.content and device is not None:
        assert result.seq > 0, result
        span = chat_pb2.EntryRange(conversation_id=append.conversation_id, after_seq=result.seq - 1, limit=1)
        [entry] = (await device.call(chat_pb2.ListEntriesRequest(fetch=chat_pb2.Fetch(ranges=[span])))).entries.entries
        assert entry.message_appended.content == entry_pb2.Content.FromString(append.content)


def requests(recording: Recording) -> Iterator[tuple[mesh_pb2.MeshFrame, str | None]]:
    """Yield the frames that were no answers, each with the kind of its answer; None: it got none."""
    for exchange in recording.exchanges:
        if exchange.method == MESH:
            sides: dict[bool, list[mesh_pb2.MeshFrame]] = {True: [], False: []}
            for frame in exchange.frames:
                sides[frame.up] += mesh_pb2.ExchangeRequest.FromString(frame.data).batch.frames
            for up, frames in sides.items():
                kinds = {each.answers_frame_id: each.WhichOneof("body") for each in sides[not up]}
                yield from ((each, kinds.get(each.frame_id)) for each in frames if not each.answers_frame_id)


def failed_frames(stack: Stack) -> float:
    """Return how many frames of peers the chat server could not handle."""
    metrics = fetch(f"http://{stack.chat_servers[0].metrics_address}/metrics").decode()
    [line] = [each for each in metrics.splitlines() if each.startswith("parley_mesh_frames_failed_total")]
    return float(line.split()[-1])


async def test_reports_of_chat_servers_are_understood(
    recording: Recording, recorded_stack: Stack, recorded_world: World
) -> None:
    channel = recorded_world.channel(recorded_stack.replicas("presence")[0].internal_address)
    for exchange in recording.exchanges:
        if exchange.method != REPORT:
            continue
        frames = [presence_report_pb2.ReportRequest.FromString(each.data) for each in exchange.frames if each.up]
        numbered = [frame.transitions.report_seq or frame.relation_changed.report_seq for frame in frames]
        call: Any = channel.stream_stream(REPORT)(metadata=credential_of(recorded_stack))
        for frame in frames:
            await call.write(frame.SerializeToString())
        answers: list[presence_report_pb2.ReportResponse] = []
        while max(numbered) > max((each.acknowledgement.report_seq for each in answers), default=0) or not answers:
            async with asyncio.timeout(10):
                answers.append(presence_report_pb2.ReportResponse.FromString(await call.read()))
        assert answers[0].HasField("welcome")
        call.cancel()


def test_records_of_members_are_read(recording: Recording) -> None:
    members = [MemberRecord.from_bytes(each).member for each in recording.members]
    assert len(members) > 3
    assert all(each.address and each.internal_address and each.started_ms for each in members)


async def test_frames_and_fields_of_later_servers_are_ignored(
    recording: Recording, recorded_stack: Stack, recorded_world: World
) -> None:
    before = failed_frames(recorded_stack)
    [carol] = {each.user_id for each in recording.answers[-1:]}
    channel = recorded_world.channel(recorded_stack.chat_servers[0].internal_address)
    async with RecordedPeer(channel, credential_of(recorded_stack), "127.0.0.1:2") as peer:
        await peer.send(mesh_pb2.MeshFrame.FromString(UNKNOWN))
        frame = mesh_pb2.MeshFrame(describe_foreground=mesh_pb2.DescribeForeground(user_id=carol))
        frame.MergeFromString(UNKNOWN)
        assert (await peer.ask(frame)).WhichOneof("body") == "foreground"
    assert failed_frames(recorded_stack) == before


async def test_event_of_a_later_server_becomes_a_dead_letter(recorded_world: World) -> None:
    async with Pushes(recorded_world) as pushes:
        await pushes.add_fields({"event": notify_pb2.QueuedPush.FromString(UNKNOWN).SerializeToString()})
        await pushes.wait_drained()
        letters = (await pushes.call_admin(notify_pb2.ListDeadLettersRequest())).dead_letters
    assert len(letters) == 1

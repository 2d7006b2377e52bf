"""Calls to another service reach one of its servers, and failures come back as they left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from prometheus_client import REGISTRY

from notes.v1 import notes_pb2, notes_pb2_grpc
from servicekit import tracing
from servicekit.auth import ServiceCredential
from servicekit.client import ServiceChannel
from servicekit.errors import PageTokenInvalid, ServerDraining, ServiceUnavailable, StoreUnavailable
from servicekit.etcd import Etcd
from servicekit.failure import Failure
from servicekit.membership import Membership
from servicekit.ring import RingMember
from servicekit.rpc import Call, service_handler
from servicekit.server import Server
from tests.eventually import eventually
from tests.integration.servicekit.conftest import EtcdServer

NOTES = notes_pb2.DESCRIPTOR.services_by_name["NotesService"]
CREDENTIAL = ServiceCredential("a secret of all the services")
REQUEST = notes_pb2.AddNoteRequest(note_id="a" * 32, text="hello")


@dataclass
class NotesServer:
    """A server with an internal notes service, which records its calls and fails as `failures` say, in order."""

    name: str
    failures: list[Failure] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answering.set()
        handler = service_handler(NOTES, self, authenticate=CREDENTIAL.check)
        self.server = Server("127.0.0.1:0", [handler], [NOTES.full_name])

    async def AddNote(self, _: notes_pb2.AddNoteRequest, call: Call) -> notes_pb2.AddNoteResponse:
        self.calls.append(call)
        await self.answering.wait()
        if self.failures:
            raise self.failures.pop(0)
        return notes_pb2.AddNoteResponse()

    async def WatchNotes(self, _: notes_pb2.WatchNotesRequest, __: Call) -> AsyncIterator[notes_pb2.WatchNotesResponse]:
        yield notes_pb2.WatchNotesResponse()


class Deployment:
    """The servers of the service "notes", and the stub of a client."""

    def __init__(self, etcd: Etcd, stack: AsyncExitStack, group: asyncio.TaskGroup) -> None:
        self._etcd = etcd
        self._stack = stack
        self._group = group
        self.channel = ServiceChannel("notes", etcd, CREDENTIAL)
        self.stub: notes_pb2_grpc.NotesServiceStub = self.channel.stub(notes_pb2_grpc.NotesServiceStub)

    async def start_server(self, name: str, *failures: Failure) -> NotesServer:
        server = NotesServer(name, list(failures))
        address = f"127.0.0.1:{await server.server.start()}"
        self._stack.push_async_callback(server.server.stop, 0)
        membership = Membership(self._etcd, RingMember(name, "", address, 1), service="notes")
        task = self._group.create_task(membership.run())
        self._stack.callback(task.cancel)
        await membership.wait_registered()
        await eventually(lambda: name in self.channel._watcher.ring.members)
        return server


@pytest.fixture
async def deployment(etcd: Etcd) -> AsyncIterator[Deployment]:
    async with run_deployment(etcd) as deployment:
        yield deployment


@asynccontextmanager
async def run_deployment(etcd: Etcd) -> AsyncIterator[Deployment]:
    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        deployment = Deployment(etcd, stack, group)
        stack.push_async_callback(deployment.channel.close)
        stack.callback(group.create_task(deployment.channel.run()).cancel)
        yield deployment


async def test_calls_reach_all_servers_in_turn(deployment: Deployment) -> None:
    servers = [await deployment.start_server(name) for name in ("notes-1", "notes-2")]
    for _ in range(6):
        await deployment.stub.AddNote(REQUEST)
    assert [len(server.calls) for server in servers] == [3, 3]


async def test_call_carries_the_trace_of_the_caller(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "trace_carrier", lambda: {"traceparent": "00-trace-span-01"})
    server = await deployment.start_server("notes-1")
    await deployment.stub.AddNote(REQUEST)
    assert server.calls[0].metadata["traceparent"] == "00-trace-span-01"


async def test_crashed_server_is_passed_over(deployment: Deployment) -> None:
    crashed, other = [await deployment.start_server(name) for name in ("notes-1", "notes-2")]
    await crashed.server.stop(0)
    for _ in range(4):
        await deployment.stub.AddNote(REQUEST)
    assert len(other.calls) == 4


async def test_silent_server_is_passed_over(deployment: Deployment) -> None:
    silent, other = [await deployment.start_server(name) for name in ("notes-1", "notes-2")]
    silent.answering.clear()
    for _ in range(4):
        await deployment.stub.AddNote(REQUEST, timeout=2)
    assert len(silent.calls) == 1
    assert len(other.calls) == 4


async def test_draining_server_is_passed_over(deployment: Deployment) -> None:
    draining = await deployment.start_server("notes-1", *[ServerDraining() for _ in range(9)])
    other = await deployment.start_server("notes-2")
    for _ in range(4):
        await deployment.stub.AddNote(REQUEST)
    assert len(other.calls) == 4
    assert 0 < len(draining.calls) < 9


async def test_call_is_repeated_after_the_retry_delay(deployment: Deployment) -> None:
    server = await deployment.start_server("notes-1", *[StoreUnavailable(retry_after=0.01) for _ in range(3)])
    await deployment.stub.AddNote(REQUEST)
    assert len(server.calls) == 4


@pytest.mark.parametrize(
    "failure",
    [
        StoreUnavailable("no primary", retry_after=60, metadata={"store": "notes"}),
        PageTokenInvalid("another request's"),
        Failure("no rights", code="PERMISSION_DENIED", reason="ROLE_INSUFFICIENT"),
    ],
    ids=lambda failure: failure.reason,
)
async def test_failure_comes_back_as_it_left(deployment: Deployment, failure: Failure) -> None:
    server = await deployment.start_server("notes-1", failure)
    with pytest.raises(type(failure)) as caught:
        await deployment.stub.AddNote(REQUEST)
    assert vars(caught.value) == vars(failure)
    assert len(server.calls) == 1


async def test_invalid_request_is_refused_with_its_violations(deployment: Deployment) -> None:
    await deployment.start_server("notes-1")
    with pytest.raises(Failure) as caught:
        await deployment.stub.AddNote(notes_pb2.AddNoteRequest(note_id="x", text="hello"))
    assert caught.value.reason == "FIELD_INVALID"
    assert [violation.field for violation in caught.value.violations] == ["note_id"]


async def test_cancelled_call_is_not_counted_as_answered(deployment: Deployment) -> None:
    def counted(code: str) -> float:
        labels = {"method": "/notes.v1.NotesService/AddNote", "code": code}
        return REGISTRY.get_sample_value("parley_outgoing_calls_total", labels) or 0

    server = await deployment.start_server("notes-1")
    server.answering.clear()
    before = counted("CANCELLED"), counted("OK")
    call = asyncio.ensure_future(deployment.stub.AddNote(REQUEST))
    await eventually(lambda: server.calls)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (counted("CANCELLED"), counted("OK")) == (before[0] + 1, before[1])


async def test_call_without_any_server_fails_at_its_deadline(deployment: Deployment) -> None:
    with pytest.raises(ServiceUnavailable, match="no notes server is registered"):
        await deployment.stub.AddNote(REQUEST, timeout=0.2)


async def test_call_waits_for_the_first_server(deployment: Deployment) -> None:
    call = asyncio.ensure_future(deployment.stub.AddNote(REQUEST, timeout=10))
    await deployment.start_server("notes-1")
    await call


async def test_streaming_method_cannot_be_called(deployment: Deployment) -> None:
    with pytest.raises(TypeError, match=r"WatchNotes streams; a ServiceChannel calls unary methods only"):
        deployment.stub.WatchNotes(notes_pb2.WatchNotesRequest())


async def test_call_after_the_loss_of_etcd_uses_the_last_servers(
    deployment: Deployment, etcd_server: EtcdServer
) -> None:
    server = await deployment.start_server("notes-1")
    etcd_server.freeze()
    try:
        await deployment.stub.AddNote(REQUEST)
    finally:
        etcd_server.thaw()
    assert len(server.calls) == 1


async def test_call_with_another_credential_is_refused(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_deployment(etcd) as deployment:
        await deployment.start_server("notes-1")
        other: Callable[[], object] = ServiceCredential("another secret of a stranger").metadata
        monkeypatch.setattr(CREDENTIAL, "metadata", other)
        with pytest.raises(Failure) as caught:
            await deployment.stub.AddNote(REQUEST)
        assert (caught.value.code, caught.value.reason) == ("UNAUTHENTICATED", "TOKEN_INVALID")

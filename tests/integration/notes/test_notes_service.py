"""A service of fewer than 80 lines has all that servicekit, the devstack and Envoy give to every service."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2

import tests.notes_service
from devstack.local_http import fetch
from devstack.services import CHAT, ServiceType
from devstack.stack import Stack
from notes.v1 import notes_pb2, notes_pb2_grpc
from servicekit.auth import TokenSigner
from servicekit.etcd import Etcd
from tests.eventually import eventually
from tests.notes_service import __main__, store
from tests.raw.refusal import Refusal, of_error

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

Metadata = tuple[tuple[str, str], ...]

NOTES = ServiceType(
    name="notes",
    module="tests.notes_service",
    description="a notes server",
    contract=(notes_pb2.DESCRIPTOR.services_by_name["NotesService"],),
    replicas=2,
)
# Longer than Envoy takes to notice that a server drains.
ENVIRONMENT = {"PARLEY_DRAIN_SECONDS": "5"}
CALLERS = 4


class Caller:
    """A device of a user of its own, which calls the notes service at one address."""

    def __init__(self, stack: Stack, address: str, audience: str = "parley") -> None:
        self._signer = TokenSigner(stack.signing_key_file.read_bytes(), issuer="parley", audience=audience)
        self._user_id = uuid.uuid4().hex
        self.metadata: Metadata = ()
        self.use_new_device()
        self.channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.stub = notes_pb2_grpc.NotesServiceStub(self.channel)

    def use_new_device(self) -> None:
        """Call as another device of the user, which has a rate limit of its own."""
        token, _ = self._signer.sign(self._user_id, uuid.uuid4().hex)
        self.metadata = (("authorization", f"Bearer {token}"),)

    async def add(self, text: str, note_id: str = "") -> str:
        """Add a note and return its id."""
        request = notes_pb2.AddNoteRequest(note_id=note_id or uuid.uuid4().hex, text=text)
        await self.stub.AddNote(request, metadata=self.metadata, timeout=20)
        return request.note_id

    async def refusal(self, text: str, note_id: str = "") -> Refusal:
        """Return the refusal of a note."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.add(text, note_id)
        return of_error(refused.value)

    def watch(self) -> AsyncIterator[notes_pb2.WatchNotesResponse]:
        """Return the stream of the notes of the user."""
        return aiter(self.stub.WatchNotes(notes_pb2.WatchNotesRequest(), metadata=self.metadata, timeout=60))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("notes"), 1, services=(CHAT, NOTES), environment=ENVIRONMENT) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def caller(stack: Stack) -> AsyncIterator[Caller]:
    caller = Caller(stack, stack.door)
    yield caller
    await caller.channel.close()


async def test_service_has_fewer_than_80_lines() -> None:
    files = (inspect.getsource(module) for module in (tests.notes_service, __main__, store))
    assert sum(len(file.splitlines()) for file in files) < 80


async def test_note_reaches_a_watch_at_another_replica(stack: Stack, caller: Caller) -> None:
    first = await caller.add("before the watch")
    watching = Caller(stack, stack.replicas("notes")[0].address)
    watching.metadata = caller.metadata
    notes = watching.watch()
    assert (await anext(notes)).note_id == first
    writing = Caller(stack, stack.replicas("notes")[1].address)
    writing.metadata = caller.metadata
    second = await writing.add("during the watch")
    assert (await anext(notes)).note_id == second
    await watching.channel.close()
    await writing.channel.close()


async def test_both_replicas_are_healthy_and_registered(stack: Stack) -> None:
    for replica in stack.replicas("notes"):
        async with grpc.aio.insecure_channel(replica.address) as channel:
            check: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
            request = health_pb2.HealthCheckRequest(service="notes.v1.NotesService")
            response = health_pb2.HealthCheckResponse.FromString(await check(request.SerializeToString()))
            assert response.status == health_pb2.HealthCheckResponse.SERVING
    async with Etcd([stack.etcd_endpoint]) as etcd:
        registered = (await etcd.list_prefix("/parley/notes/")).values
    assert registered.keys() == {replica.address for replica in stack.replicas("notes")}


async def test_reflection_at_the_door_lists_the_service(stack: Stack) -> None:
    command = [str(Path(sys.executable).with_name("grpcurl")), "-plaintext", stack.door, "list"]
    listed = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert "notes.v1.NotesService" in listed.stdout.split(), listed.stderr


async def test_calls_are_counted(stack: Stack, caller: Caller) -> None:
    def counted() -> float:
        pages = [fetch(f"http://{replica.metrics_address}/metrics").decode() for replica in stack.replicas("notes")]
        lines = [line for page in pages for line in page.splitlines()]
        name = 'parley_rpc_finished_total{code="OK",method="AddNote",service="notes.v1.NotesService"}'
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = await asyncio.to_thread(counted)
    await caller.add("one more")
    assert await asyncio.to_thread(counted) == before + 1


async def test_call_without_a_valid_token_is_refused(stack: Stack, caller: Caller) -> None:
    server = Caller(stack, stack.replicas("notes")[0].address, audience="another")
    assert (await server.refusal("note")).code_and_reason == ("UNAUTHENTICATED", "TOKEN_WRONG_AUDIENCE")
    for called in (server, caller):
        called.metadata = ()
        assert (await called.refusal("note")).code == "UNAUTHENTICATED"
    await server.channel.close()


async def test_invalid_request_is_refused_with_its_field(caller: Caller) -> None:
    refusal = await caller.refusal("note", note_id="no id")
    assert refusal.code_and_reason == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert refusal.fields == ("note_id",)


async def test_flood_of_calls_is_limited_by_device(stack: Stack, caller: Caller) -> None:
    # More than the bursts of two replicas.
    results = await asyncio.gather(*(caller.add("note") for _ in range(500)), return_exceptions=True)
    refusals = {of_error(each) for each in results if isinstance(each, grpc.aio.AioRpcError)}
    assert {refusal.code_and_reason for refusal in refusals} == {("RESOURCE_EXHAUSTED", "RATE_LIMITED")}
    assert all(refusal.retry_after is not None for refusal in refusals)
    other = Caller(stack, stack.door)
    await other.add("another device's")
    await other.channel.close()


async def test_store_that_is_away_gives_the_documented_error(stack: Stack) -> None:
    caller = Caller(stack, stack.door)
    mongod = stack.processes["mongod"]
    mongod.freeze()
    try:
        refusal = await caller.refusal("note")
    finally:
        mongod.resume()
    assert refusal.code_and_reason == ("UNAVAILABLE", "STORE_UNAVAILABLE")
    assert refusal.retry_after
    note = await caller.add("after the outage")
    # The outcome of the refused note was unknown: it may be stored as well.
    stored = caller.watch()
    while (await anext(stored)).note_id != note:
        pass
    await caller.channel.close()


async def test_stream_of_a_stopping_replica_ends_with_a_retry_delay(stack: Stack) -> None:
    replica = stack.replicas("notes")[0]
    caller = Caller(stack, replica.address)
    await caller.add("note")
    notes = caller.watch()
    await anext(notes)
    stopping = asyncio.create_task(asyncio.to_thread(replica.terminate))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await anext(notes)
    refusal = of_error(ended.value)
    assert refusal.code_and_reason == ("UNAVAILABLE", "SERVER_DRAINING")
    assert refusal.retry_after
    assert await stopping == 0
    await caller.channel.close()
    await restart(stack, replica.name)


async def test_rolling_restart_under_calls_gives_no_error(stack: Stack) -> None:
    callers = [Caller(stack, stack.door) for _ in range(CALLERS)]
    added: dict[Caller, list[str]] = {caller: [] for caller in callers}
    restarted = asyncio.Event()

    async def call_until_restarted(caller: Caller) -> None:
        while not restarted.is_set():
            caller.use_new_device()
            added[caller].append(await caller.add("during the restart"))

    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(call_until_restarted(caller))
        for replica in stack.replicas("notes"):
            await eventually(lambda: all(added.values()))
            assert await asyncio.to_thread(replica.terminate) == 0
            await restart(stack, replica.name)
        restarted.set()
    for caller, notes in added.items():
        stored = caller.watch()
        assert {(await anext(stored)).note_id for _ in notes} == set(notes)
        await caller.channel.close()


async def restart(stack: Stack, name: str) -> None:
    """Start a stopped replica, and wait until Envoy routes calls to it."""
    process = stack.processes[name]
    process.start()
    await asyncio.to_thread(process.wait_healthy)
    await asyncio.to_thread(stack.wait_envoy_healthy)

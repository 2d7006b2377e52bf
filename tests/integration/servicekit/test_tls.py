"""Mutual TLS between servers: only the callers of a port are served, and a renewed certificate breaks no stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from devstack.certificates import AUTHORITIES, CERTIFICATE, DOOR, KEY, Authority, StackCertificates
from notes.v1 import notes_pb2, notes_pb2_grpc
from servicekit.auth import ServiceCredential
from servicekit.certificates import CertificateFiles, CertificateWatcher, Identity
from servicekit.client import ServiceChannel
from servicekit.etcd import Etcd
from servicekit.membership import Membership
from servicekit.ring import RingMember
from servicekit.rpc import Call, service_handler
from servicekit.server import Server
from servicekit.transport import GATEWAY, OPERATOR, MutualTls
from tests.clock import ManualClock
from tests.eventually import eventually
from tests.integration.servicekit.conftest import free_ports
from tests.raw.refusal import of_error

NOTES = notes_pb2.DESCRIPTOR.services_by_name["NotesService"]
CREDENTIAL = ServiceCredential("a secret of all the services")
NOTE = notes_pb2.AddNoteRequest(note_id="a" * 32, text="hello")
WATCH = notes_pb2.WatchNotesRequest()
CHECK = health_pb2.HealthCheckRequest()
OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
METADATA = CREDENTIAL.metadata()
DENIED, UNAVAILABLE = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE


class Party:
    """A process with a certificate: its files, and its transport, which looks at them when it is told to."""

    def __init__(self, folder: Path, name: str) -> None:
        self.files = CertificateFiles(folder / CERTIFICATE, folder / KEY, folder / AUTHORITIES)
        self.watcher = CertificateWatcher(self.files, Identity("parley", name), ManualClock(round(time.time() * 1000)))
        self.transport = MutualTls(self.watcher)

    def look(self) -> None:
        """Look at the files until a change is used."""
        self.watcher.poll()
        self.watcher.poll()


class Notes:
    """A notes service that answers while `answers` is set; its watches last, and tell a note when `tell` is set."""

    def __init__(self) -> None:
        self.tell, self.answers, self.waiting = asyncio.Event(), asyncio.Event(), False
        self.answers.set()

    async def AddNote(self, _: notes_pb2.AddNoteRequest, __: Call) -> notes_pb2.AddNoteResponse:
        self.waiting = not self.answers.is_set()
        await self.answers.wait()
        return notes_pb2.AddNoteResponse()

    async def WatchNotes(self, _: notes_pb2.WatchNotesRequest, __: Call) -> AsyncIterator[notes_pb2.WatchNotesResponse]:
        while True:
            yield notes_pb2.WatchNotesResponse(text="hello")
            await self.tell.wait()
            self.tell.clear()


class Deployment:
    """A server of notes, which media may call, and the parties of a deployment, each with its certificate."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.certificates = StackCertificates(folder, ["notes", "media", "chat"])
        self.server_party = self.party("notes")
        self.notes = Notes()
        self.address = "127.0.0.1:0"
        self._stack = stack

    def party(self, holder: str) -> Party:
        return Party(self.certificates.folder_of(holder), holder)

    async def start(self) -> None:
        """Listen at any port, or at that of the stopped server."""
        handler = service_handler(NOTES, self.notes, authenticate=CREDENTIAL.check)
        self.server = Server(
            self.address,
            [handler],
            [NOTES.full_name],
            transport=self.server_party.transport,
            allowed_callers={NOTES.full_name: ["media"], "another.Service": ["chat"]},
        )
        self.address = f"127.0.0.1:{await self.server.start()}"
        self._stack.push_async_callback(self.server.stop, 0)

    async def restart(self) -> None:
        await self.server.stop(0)
        await self.start()

    async def channel(self, party: Party, service: str = "notes") -> grpc.aio.Channel:
        """Return a channel of a party, which expects the server to be of `service`."""
        return await self._enter(party.transport.open_channel(service, self.address, OPTIONS))

    async def raw_channel(self, *pems: bytes | None) -> grpc.aio.Channel:
        """Return a channel with authorities, key and certificate; without any it speaks plain text."""
        if not pems:
            return await self._enter(grpc.aio.insecure_channel(self.address, OPTIONS))
        options = [*OPTIONS, ("grpc.ssl_target_name_override", "notes.parley")]
        return await self._enter(grpc.aio.secure_channel(self.address, grpc.ssl_channel_credentials(*pems), options))

    async def _enter(self, channel: grpc.aio.Channel) -> grpc.aio.Channel:
        return await self._stack.enter_async_context(channel)


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack:
        deployment = Deployment(tmp_path / "tls", stack)
        await deployment.start()
        yield deployment


async def add_note(channel: grpc.aio.Channel) -> Any:
    return await notes_pb2_grpc.NotesServiceStub(channel).AddNote(NOTE, metadata=METADATA, timeout=5)


def health(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


def list_services(channel: grpc.aio.Channel) -> Any:
    stub: Any = ServerReflectionStub
    return stub(channel).ServerReflectionInfo(iter([ServerReflectionRequest(list_services="")]))


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


async def test_caller_of_the_service_is_served(deployment: Deployment) -> None:
    channel = await deployment.channel(deployment.party("media"))
    assert await add_note(channel)
    assert await notes_pb2_grpc.NotesServiceStub(channel).WatchNotes(WATCH, metadata=METADATA).read()
    assert await health(channel).Check(CHECK)
    reflection = list_services(channel)
    assert [each async for each in reflection]


@pytest.mark.parametrize("holder", ["chat", "notes", GATEWAY, OPERATOR])
async def test_other_holders_of_a_certificate_are_refused(deployment: Deployment, holder: str) -> None:
    before = REGISTRY.get_sample_value("parley_tls_callers_refused_total") or 0
    channel = await deployment.channel(deployment.party(holder))
    with capture_logs() as logged:
        error = await refusal(add_note(channel))
    assert of_error(error).code_and_reason == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")
    assert error.details() == f"spiffe://parley/{holder} may not call this"
    assert [each["caller"] for each in logged if each["event"] == "caller refused"] == [f"spiffe://parley/{holder}"]
    assert REGISTRY.get_sample_value("parley_tls_callers_refused_total") == before + 1


async def test_who_may_call_no_service_of_the_port_reaches_nothing_there(deployment: Deployment) -> None:
    channel = await deployment.channel(deployment.party(GATEWAY))
    watch = notes_pb2_grpc.NotesServiceStub(channel).WatchNotes(WATCH, metadata=METADATA)
    unknown: Any = channel.unary_unary("/another.Service/Method")
    for call in (
        watch.read(),
        list_services(channel).read(),
        unknown(b""),
        health(channel).Check(CHECK),
        health(channel).Watch(CHECK).read(),
    ):
        assert (await refusal(call)).code() == DENIED
    other = await deployment.channel(deployment.party("chat"))
    assert await health(other).Check(CHECK)


async def test_certificate_without_an_identity_is_refused(deployment: Deployment) -> None:
    door = deployment.certificates.folder_of(DOOR)
    pems = [(door / name).read_bytes() for name in (AUTHORITIES, KEY, CERTIFICATE)]
    error = await refusal(add_note(await deployment.raw_channel(*pems)))
    assert (error.code(), error.details()) == (DENIED, "no SPIFFE ID may not call this")


async def test_foreign_missing_and_no_certificates_are_refused(deployment: Deployment) -> None:
    authorities = deployment.certificates.authority.pem
    certificate, key = Authority.create().issue(["media.parley"], "spiffe://parley/media")
    for pems in ((authorities, key, certificate), (authorities, None, None), ()):
        assert (await refusal(add_note(await deployment.raw_channel(*pems)))).code() == UNAVAILABLE


async def test_client_trusts_no_other_service_and_no_other_authority(deployment: Deployment) -> None:
    media = deployment.party("media")
    error = await refusal(add_note(await deployment.channel(media, service="chat")))
    assert error.code() == UNAVAILABLE
    pems = (Authority.create().pem, media.files.key.read_bytes(), media.files.certificate.read_bytes())
    error = await refusal(add_note(await deployment.raw_channel(*pems)))
    assert "CERTIFICATE_VERIFY_FAILED" in str(error.details())


async def test_authority_is_replaced_while_streams_go_on(deployment: Deployment) -> None:
    media, server, certificates = deployment.party("media"), deployment.server_party, deployment.certificates
    opened = await deployment.channel(media)
    stream = notes_pb2_grpc.NotesServiceStub(opened).WatchNotes(WATCH, metadata=METADATA)
    assert await stream.read()
    old, new = certificates.authority, Authority.create()
    # Both are trusted before the new one signs, and until the old one has signed nothing that is in use.
    for authority, trusted in ((old, old.pem + new.pem), (new, old.pem + new.pem), (new, new.pem)):
        certificates.issue(authority, trusted)
        for party in (server, media):
            party.look()
            assert await add_note(await deployment.channel(media))
        deployment.notes.tell.set()
        assert await stream.read()
    certificate, key = old.issue(["media.parley"], "spiffe://parley/media")
    assert (await refusal(add_note(await deployment.raw_channel(new.pem, key, certificate)))).code() == UNAVAILABLE


async def test_half_written_files_leave_the_last_certificate_in_use(deployment: Deployment) -> None:
    media = deployment.party("media")
    # A file is written in place here, instead of replaced.
    deployment.server_party.files.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nMIG")
    deployment.server_party.look()
    assert await add_note(await deployment.channel(media))


async def test_channel_uses_the_renewed_certificate_and_calls_in_flight_are_answered(
    deployment: Deployment, etcd: Etcd
) -> None:
    media, notes = deployment.party("media"), deployment.notes
    channel = ServiceChannel("notes", etcd, CREDENTIAL, media.transport)
    stub: Any = channel.stub(notes_pb2_grpc.NotesServiceStub)
    membership = Membership(etcd, RingMember("notes-1", "", deployment.address, 1), service="notes")
    tasks = [asyncio.create_task(each.run()) for each in (membership, channel)]
    try:
        assert await stub.AddNote(NOTE)
        notes.answers.clear()
        in_flight = asyncio.create_task(stub.AddNote(NOTE))
        await eventually(lambda: notes.waiting)
        old, new = deployment.certificates.authority, Authority.create()
        for authority, trusted in ((old, old.pem + new.pem), (new, new.pem)):
            deployment.certificates.issue(authority, trusted)
            deployment.server_party.look()
            media.look()
        notes.answers.set()
        assert await in_flight
        # Its connections are new ones, and the server trusts the new authority alone.
        await deployment.restart()
        assert await stub.AddNote(NOTE)
    finally:
        await channel.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_health_port_answers_health_checks_in_plain_text_and_nothing_else() -> None:
    [port] = free_ports(1)
    handler = service_handler(NOTES, Notes(), authenticate=CREDENTIAL.check)
    server = Server("127.0.0.1:0", [handler], [NOTES.full_name], health_address=f"127.0.0.1:{port}")
    await server.start()
    server.set_serving(True)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", OPTIONS) as channel:
        for service in ("", NOTES.full_name):
            response = await health(channel).Check(health_pb2.HealthCheckRequest(service=service))
            assert response.status == health_pb2.HealthCheckResponse.SERVING
        for call in (add_note(channel), list_services(channel).read()):
            assert (await refusal(call)).code() == grpc.StatusCode.UNIMPLEMENTED
    await server.stop(0)

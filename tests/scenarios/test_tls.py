"""A system with TLS: nothing answers plain text, users reach nothing internal, and certificates are renewed in use."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc

from devstack.certificates import CERTIFICATE, DOOR, Authority, StackCertificates
from devstack.contract import services_in
from devstack.local_http import fetch
from devstack.ports import LOOPBACK, SERVICE_PORTS, PortBlock
from devstack.servers.service import ServiceReplica
from devstack.services import SERVICES, with_replicas
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2
from parley.presence.v1 import presence_pb2
from parley_client import Client, ParleyError
from servicekit.transport import GATEWAY, OPERATOR
from tests.eventually import eventually
from tests.raw import calls
from tests.raw.browser import Browser
from tests.raw.channels import pems_of, secure_channel, tls_context
from tests.raw.directory import credential_of
from tests.raw.media import RawMedia
from tests.raw.presence import OFFLINE, ONLINE, show, wait_present
from tests.raw.pushes import Pushes
from tests.raw.refusal import of_error
from tests.raw.watcher import DirectWatcher
from tests.raw.world import OPTIONS, World
from tests.scenarios.conftest import ENVIRONMENT

pytestmark = pytest.mark.scenario

PROTOS = Path(__file__).parents[2] / "protos"
INTERNAL = services_in(
    *(
        importlib.import_module(f"parley.internal.v1.{path.stem}_pb2")
        for path in PROTOS.glob("parley/internal/v1/*.proto")
    )
)
METHODS = [method for service in INTERNAL for method in service.methods]
RENEWAL_S = 10.0
STREAMS = 20


@pytest.fixture(scope="module")
def tls_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system with TLS: two chat servers, the first with a health port, and one server of each other service."""
    services = with_replicas(with_replicas(SERVICES, "presence", 1), "notify", 1)
    folder, block = tmp_path_factory.mktemp("tls"), PortBlock()
    # The services use fewer ports than they may.
    health = {"chat-1": {"PARLEY_HEALTH_LISTEN": f"{LOOPBACK}:{block.ports.base + SERVICE_PORTS}"}}
    with Stack(
        folder, 2, services=services, ports=block.ports, environment=ENVIRONMENT, environment_of=health, tls=True
    ) as stack:
        yield stack
    block.release()


@pytest.fixture
async def world(tls_stack: Stack) -> AsyncIterator[World]:
    async with World(tls_stack) as world:
        yield world


def replicas(stack: Stack) -> list[tuple[str, ServiceReplica]]:
    """Return each server of the system with its service."""
    return [(each.name, replica) for each in stack.layout.services for replica in stack.replicas(each.name)]


def service_ports(stack: Stack) -> dict[str, str]:
    """Return the holder of the certificate that each port of the system shows, by address."""
    ports = {stack.door: DOOR, stack.media_origin.removeprefix("https://"): DOOR}
    for service, replica in replicas(stack):
        ports |= {replica.address: service, replica.internal_address: service}
    return ports


async def test_plain_text_probe_of_every_port_fails(tls_stack: Stack) -> None:
    addresses = service_ports(tls_stack)
    assert len(addresses) == 12
    assert await asyncio.gather(*map(plain_health, addresses)) == [grpc.StatusCode.UNAVAILABLE] * len(addresses)
    answers = await asyncio.gather(*map(plain_http, addresses))
    assert not [answer for answer in answers if answer.startswith(b"HTTP")]


async def test_metrics_port_answers_plain_text_and_nothing_else(tls_stack: Stack) -> None:
    addresses = [replica.metrics_address for _, replica in replicas(tls_stack)]
    assert len(addresses) == 5
    assert not set(addresses) & service_ports(tls_stack).keys()
    for address in addresses:
        assert b"parley_ring_members" in await asyncio.to_thread(fetch, f"http://{address}/metrics")
    assert await asyncio.gather(*map(plain_health, addresses)) == [grpc.StatusCode.UNAVAILABLE] * len(addresses)


async def test_health_port_answers_plain_text_and_nothing_else(tls_stack: Stack, world: World) -> None:
    address, user = tls_stack.chat_servers[0].spec.environment["PARLEY_HEALTH_LISTEN"], await world.user()
    assert await plain_health(address) is grpc.StatusCode.OK
    metadata = (*user.metadata, *credential_of(tls_stack))
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        assert await refusals(channel, metadata) == {("UNIMPLEMENTED", "NOT_YET_SERVED")}
        assert (await calls.refused(channel, chat_pb2.LocateRequest(), user.metadata)).code == "UNIMPLEMENTED"


async def plain_health(address: str) -> grpc.StatusCode:
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        try:
            await check_health(channel)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def check_health(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)


async def plain_http(address: str) -> bytes:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n".encode())
    try:
        async with asyncio.timeout(10):
            return await reader.read(64)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_user_calls_nothing_internal(tls_stack: Stack, world: World) -> None:
    assert len(METHODS) > 15
    user = await world.user()
    authorities = pems_of(tls_stack, GATEWAY)[0]
    certificate, key = Authority.create().issue(["chat.parley"], "spiffe://parley/chat")
    credential = credential_of(tls_stack)
    for service, replica in replicas(tls_stack):
        address = replica.internal_address
        unreachable = [
            grpc.aio.insecure_channel(address, options=OPTIONS),
            secure_channel(address, service, (authorities, None, None), OPTIONS),
            secure_channel(address, service, (authorities, key, certificate), OPTIONS),
        ]
        for channel in unreachable:
            async with channel:
                assert await refusals(channel, user.metadata) == {("UNAVAILABLE", "")}
        # Not even with the credential of the services.
        async with secure_channel(address, service, pems_of(tls_stack, GATEWAY), OPTIONS) as channel:
            assert await refusals(channel, (*user.metadata, *credential)) == {
                ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")
            }
    assert await refusals(world.channel(tls_stack.door), user.metadata) == {("UNIMPLEMENTED", "NOT_YET_SERVED")}


async def test_certificate_of_a_service_replaces_neither_credential_nor_gateway(tls_stack: Stack, world: World) -> None:
    user, pems = await world.user(), pems_of(tls_stack, "chat")
    [media] = tls_stack.replicas("media")
    catalog = next(each for each in METHODS if each.containing_service.name == "MediaCatalogService")
    async with secure_channel(media.internal_address, "media", pems, OPTIONS) as channel:
        assert await refusal(channel, catalog, user.metadata) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    async with secure_channel(media.address, "media", pems, OPTIONS) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check_health(channel)
    assert of_error(refused.value).code_and_reason == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")


async def refusals(channel: grpc.aio.Channel, metadata: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Call every internal method, and return codes and reasons of the refusals."""
    return set(await asyncio.gather(*(refusal(channel, method, metadata) for method in METHODS)))


async def refusal(
    channel: grpc.aio.Channel, method: MethodDescriptor, metadata: Sequence[tuple[str, str]]
) -> tuple[str, str]:
    path = f"/{method.containing_service.full_name}/{method.name}"
    # On the wire a unary call is a stream of one frame; the client sends it at once, so no refusal interrupts a write.
    call: Any = channel.unary_unary(path)
    try:
        answer = await call(b"", metadata=tuple(metadata), timeout=10)
    except grpc.aio.AioRpcError as error:
        return of_error(error).code_and_reason
    raise AssertionError(f"{path} answered {answer!r}")


async def test_demo_and_grpcurl_trust_the_authority_of_the_stack(tls_stack: Stack) -> None:
    door, ca_file = tls_stack.door, str(tls_stack.ca_file)
    verdicts = await asyncio.to_thread(_output, "parley", "demo", "--door", door, "--ca", ca_file, "--sends", "3")
    assert "✗" not in verdicts
    assert verdicts.count("✓") > 5
    assert "parley.chat.v1.ChatService" in await asyncio.to_thread(_output, "grpcurl", "-cacert", ca_file, door, "list")


def _output(*command: str) -> str:
    done = _run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = Path(sys.executable).with_name(program)
    return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=False)


async def test_operator_calls_with_a_certificate_of_its_own(tls_stack: Stack) -> None:
    assert tls_stack.layout.certificates is not None
    environment = {
        **os.environ,
        **tls_stack.layout.certificates.environment(OPERATOR),
        "PARLEY_ETCD_ENDPOINTS": tls_stack.etcd_endpoint,
        "PARLEY_SERVICE_CREDENTIAL_FILE": str(tls_stack.layout.secrets.credential),
    }
    command = [f"{sys.prefix}/bin/parley", "admin", "dead-letters", "list"]
    done = await asyncio.to_thread(subprocess.run, command, env=environment, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 0, done.stderr


async def test_command_without_tls_says_what_to_add(tls_stack: Stack) -> None:
    done = await asyncio.to_thread(_run, "parley", "demo", "--door", tls_stack.door)
    assert done.returncode == 1
    assert f"{tls_stack.door} closed the connection at once. If it serves TLS, add --tls" in done.stderr


async def test_url_trusts_the_authorities_of_the_system(tls_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    url, name = f"https://{tls_stack.door}", f"zoe-{os.getpid()}"
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    async with Client(url, retry_timeout_s=0) as stranger:
        with pytest.raises(ParleyError) as refused:
            await stranger.accounts.register(name, "correct horse")
    assert refused.value.code == "UNAVAILABLE"
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_stack.ca_file))
    async with Client(url) as client:
        await client.accounts.register(name, "correct horse")


async def test_every_service_works_over_tls(tls_stack: Stack, world: World) -> None:
    here, there = world.servers
    alice, bob = await world.pair(here, there)
    await alice.connect(home=here)
    async with Pushes(world) as pushes:
        await pushes.register(bob)
        chat = await alice.direct(bob)
        seq = await alice.sent(chat, "over the mesh")
        await eventually(lambda: pushes.kinds(bob) == [("message", seq)], 20)
    await bob.connect(home=there)
    await bob.sent(chat, "and back")
    await alice.has(chat, "over the mesh", "and back")

    async def is_seen_online() -> bool:
        [seen] = (await alice.call(presence_pb2.GetPresenceRequest(user_ids=[bob.user_id]))).presences
        return bool(seen.state == presence_pb2.PRESENCE_STATE_ONLINE)

    await eventually(is_seen_online, 20)
    await check_files(RawMedia(alice, world.channel(tls_stack.door)), tls_stack)
    await check_browser(alice.token, tls_stack)


async def check_files(files: RawMedia, stack: Stack) -> None:
    """Upload in parts and download by presigned addresses, which have https."""
    await files.close()
    context = tls_context(stack)
    assert context is not None
    files.http = httpx2.AsyncClient(trust_env=False, verify=context)
    data = os.urandom(100_000)
    media = await files.upload_parts(data, content_type="application/octet-stream")
    url = await files.address(media.media_id)
    assert url.startswith(stack.media_origin + "/")
    assert (await files.http.get(url)).content == data
    await files.close()


async def check_browser(token: str, stack: Stack) -> None:
    """Call as a browser does: a preflight, and grpc-web over HTTP/1.1."""
    context = tls_context(stack)
    assert context is not None
    path = "/parley.chat.v1.ChatService/Locate"
    headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
    async with httpx2.AsyncClient(trust_env=False, verify=context) as http:
        preflight = await http.options(f"https://{stack.door}{path}", headers=headers)
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    assert (await Browser(stack.door, token, context).ask(chat_pb2.LocateRequest())).home


async def test_renewed_certificates_serve_within_10_s_and_no_stream_breaks(tls_stack: Stack, world: World) -> None:
    certificates = tls_stack.layout.certificates
    assert certificates is not None
    users = await world.users(*["alice"] * STREAMS)
    await asyncio.gather(*(user.connect() for user in users))
    group = await users[0].group("Friday", users[1:])
    zoe = await world.user("zoe")
    await show(zoe)
    # A system that has just started takes a missing record for no proof.
    await wait_present(zoe, state=OFFLINE)
    watcher = await DirectWatcher.open(world, users[0], zoe)
    old, new = certificates.authority, Authority.create()
    # Both authorities are trusted before the new one signs, and until the old one has signed nothing in use.
    renewals = ((old, old.pem + new.pem), (new, old.pem + new.pem), (new, new.pem))
    for authority, trusted in renewals:
        await renew(tls_stack, certificates, authority, trusted)
        # The authorities have been read with it.
        await users[0].sent(group, "still here")
    certificates.ca_file.write_bytes(new.pem)
    await asyncio.gather(*(user.has(group, *["still here"] * 3) for user in users))
    assert all(user.stream.open for user in users)
    # The report of chat, which is told of her, the watch at presence, and the call through Envoy are those of before.
    await zoe.connect()
    await watcher.wait_state(zoe, ONLINE)
    await watcher.close()
    for service, replica in replicas(tls_stack):
        log = replica.log.read_text()
        assert log.count("certificate renewed") == len(renewals), service
        assert not [event for event in ("peer stream closed", "report closed") if event in log], service
    await check_new_connections(tls_stack, world, old)


async def renew(stack: Stack, certificates: StackCertificates, authority: Authority, trusted: bytes) -> None:
    """Replace all certificates, and wait until every port shows the new one and Envoy has read those it calls with."""
    before = await read_by_envoy(stack)
    certificates.issue(authority, trusted)
    await asyncio.gather(
        eventually(lambda: all_serve_the_current(stack, certificates), RENEWAL_S),
        eventually(lambda: envoy_reads_all(stack, before), RENEWAL_S),
    )


async def read_by_envoy(stack: Stack) -> dict[str, int]:
    """Return how often Envoy has read certificates, for each of its listeners and each service that it calls."""
    url = f"http://{LOOPBACK}:{stack.layout.ports.envoy_admin}/stats?format=json&filter=ssl_context_update_by_sds"
    stats = json.loads(await asyncio.to_thread(fetch, url))["stats"]
    return {each["name"]: each["value"] for each in stats}


async def envoy_reads_all(stack: Stack, before: dict[str, int]) -> bool:
    """Return True if Envoy has read all of its certificates since then."""
    assert len(before) == len(stack.layout.services) + len((stack.door, stack.media_origin))
    return all(count > before[name] for name, count in (await read_by_envoy(stack)).items())


async def all_serve_the_current(stack: Stack, certificates: StackCertificates) -> bool:
    """Return True if every port shows the certificate that its holder has on disk."""
    ports = service_ports(stack)
    shown = await asyncio.gather(*map(shown_certificate, ports))
    held = [(certificates.folder_of(holder) / CERTIFICATE).read_bytes() for holder in ports.values()]
    return shown == [x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in held]


async def shown_certificate(address: str) -> bytes | None:
    host, port = address.split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return shown


async def check_new_connections(stack: Stack, world: World, old: Authority) -> None:
    """Restart a chat server: all connect to it anew, with certificates of the new authority alone."""
    replica = stack.chat_servers[1]
    await asyncio.to_thread(replica.terminate)
    replica.start()
    await asyncio.to_thread(replica.wait_healthy)
    await asyncio.to_thread(stack.wait_envoy_healthy)
    await world.forget_channel(replica.address)
    await world.wait_ring_settled()
    alice, bob = await world.pair(*world.servers)
    await alice.connect(home=world.servers[0])
    await bob.connect(home=world.servers[1])
    chat = await alice.direct(bob)
    await alice.sent(chat, "over the new mesh")
    await bob.has(chat, "over the new mesh")
    certificate, key = old.issue(["media.parley"], "spiffe://parley/media")
    pems = (pems_of(stack, "media")[0], key, certificate)
    async with secure_channel(replica.internal_address, "chat", pems, OPTIONS) as channel:
        assert await refusals(channel, credential_of(stack)) == {("UNAVAILABLE", "")}
    metrics = await asyncio.to_thread(lambda: urlopen(f"http://{replica.metrics_address}/metrics").read().decode())
    assert 'parley_tls_certificate_expiry_timestamp_seconds{identity="spiffe://parley/chat"}' in metrics

"""A server reports its health and its services, and exits with a clear status and message."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from devstack.contract import descriptor_set, services_in
from parley.internal.v1 import directory_pb2
from parley.media.v1 import media_pb2
from servicekit.config import ConfigurationError
from servicekit.health import LIVENESS, HealthPart
from servicekit.server import GC_THRESHOLDS, Server

SERVICE = "parley.chat.v1.ChatService"
ALWAYS_LISTED = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
ALWAYS_DESCRIBED = sorted({*ALWAYS_LISTED, "google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo"})
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.fixture
def store() -> HealthPart:
    return HealthPart("store")


@pytest.fixture
def server(store: HealthPart) -> Server:
    return Server("127.0.0.1:0", [], [SERVICE], health_parts=[store])


@pytest.fixture
async def port(server: Server) -> AsyncIterator[int]:
    yield await server.start()
    await server.stop(grace=0)


@pytest.fixture
async def channel(port: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


def health(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_follows_set_serving(server: Server, channel: grpc.aio.Channel, service: str) -> None:
    check = health(channel).Check
    request = health_pb2.HealthCheckRequest(service=service)
    assert (await check(request)).status == NOT_SERVING
    server.set_serving(True)
    assert (await check(request)).status == SERVING


async def test_part_has_a_status_of_its_own(server: Server, store: HealthPart, channel: grpc.aio.Channel) -> None:
    watch = health(channel).Watch(health_pb2.HealthCheckRequest(service="store"))
    assert (await watch.read()).status == NOT_SERVING
    server.set_serving(True)
    assert (await watch.read()).status == SERVING
    store.set_serving(False)
    assert (await watch.read()).status == NOT_SERVING
    # The server still answers the calls that do not need the part.
    assert (await health(channel).Check(health_pb2.HealthCheckRequest())).status == SERVING
    store.set_serving(True)
    assert (await watch.read()).status == SERVING
    watch.cancel()


async def test_server_is_alive_while_it_starts_serves_drains_and_stops(
    server: Server, store: HealthPart, channel: grpc.aio.Channel
) -> None:
    check, request = health(channel).Check, health_pb2.HealthCheckRequest(service=LIVENESS)
    watch = health(channel).Watch(request)
    assert (await check(request)).status == SERVING
    server.set_serving(True)
    store.set_serving(False)
    assert (await check(request)).status == SERVING
    server.set_serving(False)
    assert (await check(request)).status == SERVING
    assert (await watch.read()).status == SERVING
    async with asyncio.timeout(5):
        await server.stop(grace=60)
    assert await watch.read() is grpc.aio.EOF


async def test_health_of_unknown_service_is_not_found(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await health(channel).Check(health_pb2.HealthCheckRequest(service="else"))
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    watch = health(channel).Watch(health_pb2.HealthCheckRequest(service="else"))
    assert (await watch.read()).status == UNKNOWN
    watch.cancel()


async def test_health_watch_is_updated_and_does_not_delay_stop(server: Server, channel: grpc.aio.Channel) -> None:
    watch = health(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == NOT_SERVING
    server.set_serving(True)
    assert (await watch.read()).status == SERVING
    async with asyncio.timeout(5):
        await server.stop(grace=60)
    assert (await watch.read()).status == NOT_SERVING
    assert await watch.read() is grpc.aio.EOF


async def reflect(channel: grpc.aio.Channel, request: ServerReflectionRequest) -> ServerReflectionResponse:
    stub: Any = ServerReflectionStub(channel)  # type: ignore[arg-type]
    call = stub.ServerReflectionInfo()
    await call.write(request)
    answer: ServerReflectionResponse = await call.read()
    call.cancel()
    return answer


async def listed_services(channel: grpc.aio.Channel) -> set[str]:
    answer = await reflect(channel, ServerReflectionRequest(list_services=""))
    return {each.name for each in answer.list_services_response.service}


async def test_reflection_lists_the_services(channel: grpc.aio.Channel) -> None:
    assert await listed_services(channel) == {SERVICE, *ALWAYS_LISTED}


@pytest.mark.parametrize("symbol", [SERVICE, *ALWAYS_DESCRIBED])
async def test_reflection_describes_the_services_of_the_server(channel: grpc.aio.Channel, symbol: str) -> None:
    answer = await reflect(channel, ServerReflectionRequest(file_containing_symbol=symbol))
    file = FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0])
    assert symbol.startswith(file.package)


@pytest.mark.parametrize(
    "request_",
    [
        ServerReflectionRequest(file_containing_symbol="parley.internal.v1.DirectoryService"),
        ServerReflectionRequest(file_by_filename=directory_pb2.DESCRIPTOR.name),
    ],
)
async def test_reflection_hides_what_the_process_serves_elsewhere(
    channel: grpc.aio.Channel, request_: ServerReflectionRequest
) -> None:
    answer = await reflect(channel, request_)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.fixture
async def reflecting_channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel to a server whose reflection file names a service that it does not serve."""
    file = tmp_path / "reflection.binpb"
    file.write_bytes(descriptor_set(services_in(media_pb2)).SerializeToString())
    server = Server("127.0.0.1:0", [], [SERVICE], reflection_file=file)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}") as channel:
        yield channel
    await server.stop(grace=0)


async def test_reflection_lists_the_services_of_a_file(reflecting_channel: grpc.aio.Channel) -> None:
    assert await listed_services(reflecting_channel) == {"parley.media.v1.MediaService", *ALWAYS_LISTED}


@pytest.mark.parametrize("symbol", ["parley.media.v1.MediaService", *ALWAYS_DESCRIBED])
async def test_reflection_describes_the_services_of_a_file(reflecting_channel: grpc.aio.Channel, symbol: str) -> None:
    answer = await reflect(reflecting_channel, ServerReflectionRequest(file_containing_symbol=symbol))
    file = FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0])
    assert symbol.startswith(file.package)


async def test_reflection_takes_a_file_that_has_the_details_of_errors_itself(tmp_path: Path) -> None:
    files = [FileDescriptorProto.FromString(duration_pb2.DESCRIPTOR.serialized_pb), FileDescriptorProto()]
    files[1].ParseFromString(error_details_pb2.DESCRIPTOR.serialized_pb)
    files[1].options.java_package = "another.release"
    file = tmp_path / "reflection.binpb"
    file.write_bytes(FileDescriptorSet(file=files).SerializeToString())
    server = Server("127.0.0.1:0", [], [], reflection_file=file)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{await server.start()}") as channel:
        assert await listed_services(channel) == ALWAYS_LISTED
    await server.stop(grace=0)


async def test_reflection_of_a_file_hides_other_services(reflecting_channel: grpc.aio.Channel) -> None:
    answer = await reflect(reflecting_channel, ServerReflectionRequest(file_containing_symbol=SERVICE))
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


INCOMPLETE = FileDescriptorSet(file=[FileDescriptorProto(name="a.proto", dependency=["missing.proto"])])


@pytest.mark.parametrize("content", [b"no descriptors", INCOMPLETE.SerializeToString()])
async def test_bad_reflection_file_is_a_configuration_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "reflection.binpb"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{file} is not a FileDescriptorSet"):
        await Server("127.0.0.1:0", [], [SERVICE], reflection_file=file).start()


async def test_taken_port_is_a_configuration_error(port: int) -> None:
    with pytest.raises(ConfigurationError, match=f"Cannot listen on 127.0.0.1:{port}"):
        await Server(f"127.0.0.1:{port}", [], []).start()


def program(body: str) -> subprocess.Popen[str]:
    code = f"""
import asyncio
from servicekit.config import ConfigurationError
from servicekit.server import run, wait_for_signal
async def main():
{body}
run(main())
"""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def test_service_seldom_visits_all_of_its_objects() -> None:
    with program("    import gc\n    print(gc.get_threshold())") as process:
        assert process.communicate(timeout=20)[0].strip() == str(GC_THRESHOLDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_service_gracefully(number: signal.Signals) -> None:
    with program(
        "    stopped = asyncio.create_task(wait_for_signal())\n"
        "    await asyncio.sleep(0)\n"
        "    print('ready', flush=True)\n"
        "    await stopped\n"
        "    print('flushed')"
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "ready\n"
        service.send_signal(number)
        said, complaints = service.communicate(timeout=20)
    assert (service.returncode, said, complaints) == (0, "flushed\n", "")


@pytest.mark.parametrize(
    "body",
    [
        "    raise ConfigurationError('PARLEY_X is not set.')",
        "    async def part(): raise ConfigurationError('PARLEY_X is not set.')\n"
        "    async with asyncio.TaskGroup() as group: group.create_task(part())",
    ],
    ids=["alone", "in a group"],
)
def test_configuration_error_prints_message_without_traceback(body: str) -> None:
    with program(body) as service:
        _, complaints = service.communicate(timeout=20)
    assert (service.returncode, complaints) == (1, "PARLEY_X is not set.\n")


def test_internal_error_prints_traceback() -> None:
    with program("    raise ZeroDivisionError") as service:
        _, complaints = service.communicate(timeout=20)
    assert service.returncode == 1
    assert "Traceback" in complaints


HANGS = """
    import signal
    async def hangs():
        while True:
            try: await asyncio.sleep(60)
            except asyncio.CancelledError: pass
    hanging, stopped = asyncio.create_task(hangs()), asyncio.create_task(wait_for_signal())
    await asyncio.sleep(0)
"""
MISTAKES = "X is wrong.\nY too.\n"


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        ("raise ValueError('a fault')", 1, r"ValueError: \(the message is not logged.*\n"),
        ("raise ExceptionGroup('', [ConfigurationError('X is wrong.'), ConfigurationError('Y too.')])", 1, MISTAKES),
        ("signal.raise_signal(signal.SIGTERM); await stopped", 0, ""),
        ("raise asyncio.CancelledError", 130, ""),
    ],
    ids=["failed", "mistaken", "stopped", "interrupted"],
)
def test_hanging_task_does_not_delay_exit(end: str, code: int, told: str) -> None:
    with program(f"{HANGS}\n    {end}") as service:
        try:
            _, complaints = service.communicate(timeout=20)
        finally:
            service.kill()
    assert service.returncode == code
    assert re.fullmatch(told, complaints, re.DOTALL), complaints

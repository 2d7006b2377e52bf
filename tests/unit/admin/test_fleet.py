"""The commands for operators say what they wait for, and end with a sentence if no server can be found."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from parley.internal.v1.admin_pb2 import RegisteredServer
from parley_client.cli.errors import CommandError
from parley_command.admin.fleet import LOOKUP_TIMEOUT_S, Fleet, open_fleet
from parley_command.admin.options import Deployment
from servicekit.auth import ServiceCredential
from servicekit.transport import PLAIN_TEXT
from tests.eventually import eventually

NOTICE_BOUND_S = 2.0
MARGIN_S = 2.0
CREDENTIAL = "c" * 43


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(params=["refusing", "silent"])
async def endpoint(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """An address at which no etcd is: it refuses connections, or takes them and says nothing."""

    async def take(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    if request.param == "refusing":
        server.close()
    yield address
    server.close()


@pytest.fixture
def credential(tmp_path: Path) -> Path:
    path = tmp_path / "credential"
    path.write_text(CREDENTIAL)
    return path


async def enter(deployment: Deployment) -> None:
    async with open_fleet(deployment):
        raise AssertionError("there is no server")


async def test_wrong_address_of_etcd_is_named_soon_and_refused_in_a_sentence(
    endpoint: str, credential: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []

    def is_named() -> bool:
        shown.append(capsys.readouterr().err)
        return f"Looking for the servers at etcd at {endpoint} …\n" in "".join(shown)

    started_at = time.monotonic()
    entering = asyncio.create_task(enter(Deployment((endpoint,), "", credential)))
    await eventually(is_named, NOTICE_BOUND_S)
    with pytest.raises(CommandError) as refusal:
        await entering
    assert time.monotonic() - started_at < LOOKUP_TIMEOUT_S + MARGIN_S
    assert str(refusal.value) == (
        f"etcd at {endpoint} does not answer. --etcd or PARLEY_ETCD_ENDPOINTS names its address, which `make run` "
        "prints."
    )


async def test_wrong_address_of_a_server_is_refused_in_a_sentence(endpoint: str, credential: Path) -> None:
    with pytest.raises(CommandError, match=f"No chat server answers at {endpoint}"):
        await enter(Deployment((), endpoint, credential))


async def test_missing_credential_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"Cannot read a service credential from .*: No such file .* --credential"):
        await enter(Deployment(("127.0.0.1:1",), "", tmp_path / "missing"))


def test_server_is_found_by_its_id_and_by_service_if_two_share_it() -> None:
    names = [("chat", "a"), ("chat", "b"), ("notify", "b")]
    servers = [RegisteredServer(service=service, server_id=server_id) for service, server_id in names]
    fleet = Fleet(servers, ServiceCredential(CREDENTIAL), PLAIN_TEXT)
    assert fleet.find("a") == servers[0]
    assert fleet.find("notify/b") == servers[2]
    with pytest.raises(CommandError, match=r"Several servers have the id b: name one of chat/b, notify/b."):
        fleet.find("b")
    with pytest.raises(CommandError, match=r"There is no server c. `parley admin servers` lists them."):
        fleet.find("c")
    with pytest.raises(CommandError, match=r"No media server is registered."):
        fleet.list_of("media")

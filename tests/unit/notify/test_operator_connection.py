"""The commands for operators say what they wait for, and end with a sentence if no server can be found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notify_service.operator_connection import LOOKUP_TIMEOUT_S, NoServerFound, open_stub
from notify_service.settings import OperatorSettings
from parley.internal.v1.notify_pb2_grpc import NotifyAdminServiceStub
from tests.eventually import eventually

NOTICE_BOUND_S = 2.0
MARGIN_S = 2.0


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
def settings(endpoint: str, tmp_path: Path) -> OperatorSettings:
    credential = tmp_path / "credential"
    credential.write_text("c" * 43)
    return OperatorSettings.load(etcd_endpoints=(endpoint,), service_credential_file=credential)


async def test_wrong_address_of_etcd_is_named_soon_and_refused_in_a_sentence(
    settings: OperatorSettings, endpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[str] = []

    def is_named() -> bool:
        shown.append(capsys.readouterr().err)
        return f"Looking for a notify server in etcd at {endpoint} …\n" in "".join(shown)

    async def connect() -> None:
        async with open_stub(settings, "notify", NotifyAdminServiceStub):
            raise AssertionError("there is no server")

    started_at = time.monotonic()
    connecting = asyncio.create_task(connect())
    await eventually(is_named, NOTICE_BOUND_S)
    with pytest.raises(NoServerFound) as refusal:
        await connecting
    assert time.monotonic() - started_at < LOOKUP_TIMEOUT_S + MARGIN_S
    assert str(refusal.value) == (
        f"etcd at {endpoint} does not answer. PARLEY_ETCD_ENDPOINTS names its address, which `make run` prints."
    )

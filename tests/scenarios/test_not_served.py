"""Methods of the contract that are not served yet: the list only shrinks, and each method is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

import tests
from chat_service.not_served import not_yet_served
from tests.raw.calls import METHODS
from tests.raw.device import RawDevice
from tests.raw.refusal import Refusal, of_error
from tests.raw.world import World

pytestmark = pytest.mark.scenario

LIST = Path(tests.__path__[0]) / "unit" / "not_yet_served.txt"
FULL_NAMES = {f"{method.containing_service.name}.{method.name}": method for method in METHODS.values()}


def test_unserved_list_only_shrinks() -> None:
    """A method that is served is removed from the file and is never listed again."""
    assert not_yet_served() <= set(LIST.read_text().split())


def test_unserved_list_names_contract_methods() -> None:
    frames = {name for name in not_yet_served() if name.startswith("ConnectRequest.")}
    assert not_yet_served() - frames <= FULL_NAMES.keys()


@pytest.fixture
async def alice(world: World) -> RawDevice:
    return await world.user("alice")


async def test_unserved_calls_are_unimplemented(world: World, alice: RawDevice) -> None:
    for address in (world.stack.door, world.servers[0]):
        for name in sorted(not_yet_served() & FULL_NAMES.keys()):
            refusal = await refused(world.channel(address), name, alice)
            assert refusal.code_and_reason == ("UNIMPLEMENTED", "NOT_YET_SERVED"), name


async def refused(channel: grpc.aio.Channel, name: str, device: RawDevice) -> Refusal:
    """Return the refusal of a call with one empty request, for any kind of streaming."""
    method = FULL_NAMES[name]
    shape = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    make: Any = getattr(channel, shape)(f"/{method.containing_service.full_name}/{method.name}")
    request = [b""] if method.client_streaming else b""
    call = make(request, metadata=device.metadata, timeout=10)
    try:
        if method.server_streaming:
            await call.read()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return of_error(error)
    return Refusal((await call.code()).name)

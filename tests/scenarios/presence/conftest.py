"""Fixtures of the scenarios of presence: a system of chat and presence that the tests of one file may break."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import grpc
import pytest

from devstack.services import CHAT, PRESENCE
from devstack.stack import Stack
from parley.presence.v1 import presence_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.world import World
from tests.scenarios.conftest import ENVIRONMENT

# A system that has just started takes a missing record for no proof for so long.
READY_S = 10.0


@pytest.fixture(scope="module")
def fragile_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system of three chat servers and two presence servers that the tests of one file may break."""
    folder = tmp_path_factory.mktemp("fragile")
    with Stack(folder, chat_servers=3, services=(CHAT, PRESENCE), environment=ENVIRONMENT) as stack:
        yield stack


@pytest.fixture
async def world(world: World) -> World:
    """The users of one test on the shared system, once its presence is complete."""
    [anybody] = await world.users("anybody")
    servers = [replica.address for replica in world.stack.replicas("presence")]
    await eventually(lambda: is_answered(anybody, servers), READY_S)
    return world


async def is_answered(device: RawDevice, servers: Sequence[str]) -> bool:
    """Return true if the presence of users who never were online is answered at every presence server."""
    request = presence_pb2.GetPresenceRequest(user_ids=[device.user_id])
    try:
        for server in servers:
            await device.call(request, at=server)
    except grpc.aio.AioRpcError as error:
        return error.code() is not grpc.StatusCode.UNAVAILABLE
    return True

"""An operator who has docs/operations.md alone does what it describes: its examples are run as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from devstack.servers.service import ServiceReplica
from devstack.services import CHAT, SERVICES, Services
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.world import World

pytestmark = pytest.mark.scenario

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = dict(
    re.findall(
        r"^```sh\n# example: ([\w-]+)\n(.*?)^```$",
        (ROOT / "docs" / "operations.md").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)


@pytest.fixture(scope="module")
def fragile_services() -> Services:
    """All services."""
    return SERVICES


async def run_example(name: str, **variables: str) -> str:
    """Run an example of the page in a shell, and return its output. Raises AssertionError if it fails."""
    # The environment of the tests may have another name than that of `make run`.
    script = EXAMPLES[name].replace(".venv/bin/", f"{sys.prefix}/bin/")
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=ROOT,
        env={**os.environ, "no_proxy": "127.0.0.1", **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def test_every_example_is_run() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert set(re.findall(r'run_example\("([\w-]+)"', source)) == EXAMPLES.keys()


async def test_health_of_a_server_is_seen(fragile_stack: Stack) -> None:
    server = fragile_stack.chat_servers[0]

    async def shows_health() -> bool:
        output = await run_example("health", SERVER=server.address, METRICS=server.metrics_address)
        return '"status": "SERVING"' in output and all(
            f"parley_{metric} 1.0" in output for metric in ("store_writable", "index_up", "etcd_reachable")
        )

    # The server has just started.
    await eventually(shows_health, 20.0)


async def test_restarted_server_moves_its_devices(fragile_stack: Stack, fragile_world: World) -> None:
    server = fragile_stack.chat_servers[0]
    alice = await fragile_world.user("alice")
    await alice.connect(home=server.address)
    await run_example("restart", PID=str(server.pid))
    drain: chat_pb2.Drain = await alice.stream.next_frame("drain")
    assert drain.delay.ToMilliseconds() < 60_000
    await connect_again(alice)
    await wait_ended(server)
    await alice.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await alice.stream.next_frame("heartbeat")


async def test_hottest_conversation_is_found(fragile_stack: Stack, fragile_world: World) -> None:
    alice, bob = await fragile_world.users("alice", "bob")
    await alice.connect()
    conversation = await alice.direct(bob)
    for number in range(20):
        await alice.sent(conversation, str(number))
    load = json.loads(await run_example("hottest", **admin_of(fragile_stack)))
    hottest = load["hot_conversations"][0]
    assert hottest["conversation_id"] == conversation
    assert hottest["server_id"] == fragile_world.owner_of(conversation)


async def test_drained_server_moves_its_devices_and_ends(fragile_stack: Stack, fragile_world: World) -> None:
    server = fragile_stack.chat_servers[1]
    alice = await fragile_world.user("alice")
    await alice.connect(home=server.address)
    drained = asyncio.create_task(run_example("drain", SERVER_ID=server.address, **admin_of(fragile_stack)))
    await alice.stream.next_frame("drain")
    await connect_again(alice)
    await drained
    await wait_ended(server)
    await alice.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await alice.stream.next_frame("heartbeat")


def admin_of(stack: Stack) -> dict[str, str]:
    """Return the variables by which `parley admin` finds the servers of a stack."""
    return {
        "PARLEY_ETCD_ENDPOINTS": stack.etcd_endpoint,
        "PARLEY_SERVICE_CREDENTIAL_FILE": str(stack.layout.secrets.credential),
    }


async def connect_again(device: RawDevice) -> None:
    """Connect a device; Envoy may lead it to the server that drains once more."""

    async def connected() -> bool:
        await device.connect()
        return True

    await eventually(connected, 20.0)


async def wait_ended(server: ServiceReplica) -> None:
    """Wait until a server has ended, as one that was asked to."""
    await eventually(lambda: not server.running, 20.0)
    assert server.returncode == 0


async def test_backup_is_restored(tmp_path: Path) -> None:
    folder, backup = tmp_path / "parley", tmp_path / "backup"
    backup.mkdir()
    places = {"FOLDER": str(folder), "BACKUP": str(backup)}
    async with running(folder) as world:
        alice, bob = await world.users("alice", "bob")
        await alice.connect()
        conversation = await alice.direct(bob)
        kept = await alice.sent(conversation, "in the backup")
    await run_example("back-up", **places)
    async with running(folder) as world:
        alice, bob = (signed_in(world, device) for device in (alice, bob))
        for device in (alice, bob):
            await device.connect()
        await alice.sent(conversation, "lost")
        cursor = bob.cursor
    await run_example("restore", **places)
    await run_example("advance-generation", **places)
    async with running(folder) as world:
        alice, bob = (signed_in(world, device) for device in (alice, bob))
        await alice.connect()
        assert await alice.sent(conversation, "after the restore") == kept + 1
        # He saw a generation that the restored system would have come to as well.
        await bob.open(cursor)
        assert await bob.changes() == ([conversation], chat_pb2.Changes.RESYNC_OTHER_GENERATION)
        await bob.fetch(conversation)
        assert bob.bodies(conversation) == ["in the backup", "after the restore"]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[World]:
    """Run a chat server with its stores, whose data are in `folder`."""
    stack = Stack(folder, 1, services=(CHAT,))
    await asyncio.to_thread(stack.__enter__)
    try:
        async with World(stack) as world:
            yield world
    finally:
        await asyncio.to_thread(stack.__exit__, None, None, None)


def signed_in(world: World, device: RawDevice) -> RawDevice:
    """Return a device of an earlier run of the system, with a token of this one."""
    return world._device(device.user_id, device.device_id, world.token(device.user_id, device.device_id))

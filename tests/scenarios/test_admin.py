"""An operator finds what is busy, drains a server and changes its log level, with the command and one system."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from devstack.servers.service import ServiceReplica
from devstack.services import SERVICES, Services
from parley.chat.v1 import account_pb2, conversation_pb2, entry_pb2
from parley.presence.v1 import presence_pb2
from tests.eventually import eventually
from tests.raw import calls
from tests.raw.device import RawDevice, new_id
from tests.raw.pushes import Pushes
from tests.raw.world import PASSWORD, World
from tests.scenarios.conftest import DRAIN_S
from tests.terminal import Terminal

pytestmark = pytest.mark.scenario

SENDS_PER_SECOND = 8
# The command, from its start to the answer of the servers, on a busy machine.
COMMAND_S = 30.0
PAYLOAD = 60_000


@pytest.fixture(scope="module")
def fragile_services() -> Services:
    """All services."""
    return SERVICES


class Operator:
    """A person with the address of etcd and the credential of the services."""

    def __init__(self, world: World, home: Path) -> None:
        self.terminal = Terminal(world.stack.door, home, "")
        self.terminal.environment |= {
            "PARLEY_ETCD_ENDPOINTS": world.stack.etcd_endpoint,
            "PARLEY_SERVICE_CREDENTIAL_FILE": str(world.stack.layout.secrets.credential),
        }

    async def lines(self, *words: str) -> list[str]:
        """Return the lines that a command prints."""
        return (await self.terminal.ok("admin", *words)).splitlines()

    async def documents(self, *words: str) -> list[Any]:
        """Return the JSON documents that a command prints."""
        return [json.loads(line) for line in await self.lines(*words, "--json")]


@pytest.fixture
def operator(fragile_world: World, tmp_path: Path) -> Operator:
    return Operator(fragile_world, tmp_path)


@asynccontextmanager
async def sending(device: RawDevice, conversation: str) -> AsyncIterator[None]:
    """Send SENDS_PER_SECOND messages a second while the block runs."""

    async def send() -> None:
        while True:
            await device.send(conversation, "again")
            await asyncio.sleep(1 / SENDS_PER_SECOND)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()


def audit_lines(replica: ServiceReplica) -> str:
    """Return the lines of the audit log of a server."""
    return "\n".join(line for line in replica.log.read_text(errors="replace").splitlines() if "audit" in line)


async def test_hottest_conversation_is_found_on_its_owner(fragile_world: World, operator: Operator) -> None:
    alice, bob, carol = await fragile_world.users("alice", "bob", "carol")
    await alice.connect()
    busy = await alice.group("Busy", [bob, carol])
    await alice.sent(await alice.direct(bob), "a single one")
    async with sending(alice, busy):

        async def is_hottest() -> bool:
            [load] = await operator.documents("top", "--once")
            hottest = load["hot_conversations"][0]
            assert hottest["conversation_id"] == busy
            assert (hottest["server_id"], hottest["members"]) == (fragile_world.owner_of(busy), 3)
            return bool(hottest["entries_per_second"] > SENDS_PER_SECOND / 2)

        await eventually(is_hottest, COMMAND_S)
    lines = await operator.lines("top", "--once")
    assert any(line.startswith(f"{busy}  ") for line in lines)
    [located] = await operator.documents("ring", "--conversation", busy)
    assert located["server_id"] == fragile_world.owner_of(busy)


async def test_deepest_outbox_is_that_of_the_device_that_does_not_read(
    fragile_world: World, operator: Operator
) -> None:
    alice, bob, carol = await fragile_world.users("alice", "bob", "carol")
    group = await alice.group("Pictures", [bob, carol])
    for device in (alice, bob, carol):
        await device.connect(at=fragile_world.servers[0])
    bob.stream.reads.clear()
    payload = entry_pb2.CustomPayload(content_type="application/x-test", payload=b"x" * PAYLOAD)
    for _ in range(20):
        await alice.sent(group, entry_pb2.Content(custom=payload))
    [load] = await operator.documents("top", "--once")
    deepest = load["deep_outboxes"][0]
    assert (deepest["user_id"], deepest["device_id"]) == (bob.user_id, bob.device_id)
    assert int(deepest["queued_bytes"]) > PAYLOAD
    assert deepest["server_id"] == fragile_world.servers[0]
    bob.stream.reads.set()


async def test_lane_of_a_send_that_waits_for_mongodb_is_shown(fragile_world: World, operator: Operator) -> None:
    edge, owner = fragile_world.servers[:2]
    alice, bob = await fragile_world.pair(owner, edge)
    await alice.connect(at=edge)
    conversation = await alice.direct(bob)
    mongod = fragile_world.stack.processes["mongod"]
    mongod.freeze()
    key = await alice.send(conversation, "anybody there?")
    [load] = await operator.documents("top", "--once", "--limit", "100")
    mongod.resume()
    [lane] = [each for each in load["slow_lanes"] if each["user_id"] == alice.user_id]
    assert (lane["conversation_id"], lane["waiting_sends"]) == (conversation, 1)
    assert (lane["server_id"], lane["owner_server_id"]) == (edge, owner)
    assert float(lane["oldest_send_age"].removesuffix("s")) > 0
    assert (await alice.next_result(key, COMMAND_S)).HasField("appended")


async def test_drained_server_leaves_and_nothing_is_lost(fragile_world: World, operator: Operator) -> None:
    leaving, staying = fragile_world.stack.chat_servers[0], fragile_world.servers[1]
    alice, bob = await fragile_world.pair(leaving.address, leaving.address)
    await alice.connect(at=staying)
    await bob.connect(at=leaving.address)
    conversation = await alice.direct(bob)
    draining = asyncio.create_task(operator.documents("drain", leaving.address))
    moving = asyncio.create_task(move_when_asked(bob, staying))
    texts = list[str]()
    while not (draining.done() and moving.done()):
        texts.append(f"message {len(texts)}")
        await send_until_appended(alice, conversation, texts[-1])
    [drained] = await draining
    await moving
    assert drained["drained"]
    assert drained["seconds"] < DRAIN_S + COMMAND_S
    await asyncio.to_thread(leaving.wait_exited)
    assert leaving.returncode == 0
    assert leaving.address not in {each["server_id"] for each in await operator.documents("servers")}
    await bob.fetch(conversation, limit=500)
    assert bob.bodies(conversation) == texts
    assert "server_drain" in audit_lines(leaving)
    assert "operator:" in audit_lines(leaving)


async def move_when_asked(device: RawDevice, server: str) -> None:
    """Connect a device to another server once its own asks it to leave."""
    await device.stream.next_frame("drain", COMMAND_S)
    await device.connect(device.cursor, at=server)


async def send_until_appended(device: RawDevice, conversation: str, body: str) -> None:
    """Send, and again if the send is refused for now."""
    key, answers = new_id(), list[bool]()

    async def appended() -> bool:
        answer = await device.next_result(await device.send(conversation, body, client_message_id=key))
        answers.append(answer.HasField("appended"))
        return answers[-1]

    await eventually(appended)
    # Below the rate at which sends are refused.
    await asyncio.sleep(0.055)


async def test_only_server_of_a_service_is_not_drained_by_mistake(fragile_world: World, operator: Operator) -> None:
    media = fragile_world.stack.replicas("media")[0]
    complaint = await operator.terminal.refused("admin", "drain", media.address)
    assert complaint == (
        f"{media.address} is the only media server: its clients could not move. Start another one first, or add "
        "--force.\n"
    )
    assert media.running


async def test_log_level_changes_and_returns(fragile_world: World, operator: Operator) -> None:
    server = fragile_world.stack.chat_servers[1]

    async def level() -> str:
        [described] = await operator.documents("servers", server.address)
        return str(described["log_level"])

    assert await level() == "LOG_LEVEL_INFO"
    await operator.lines("log-level", server.address, "debug", "--for", "1h")
    assert await level() == "LOG_LEVEL_DEBUG"
    await operator.lines("log-level", server.address, "warning", "--for", "1s")
    await eventually(lambda: is_info(level()), COMMAND_S)
    assert audit_lines(server).count("log_level_change") == 2


async def is_info(level: Awaitable[str]) -> bool:
    return await level == "LOG_LEVEL_INFO"


async def test_one_address_is_enough_without_etcd(fragile_world: World, operator: Operator) -> None:
    stack = fragile_world.stack
    at = ("--address", stack.chat_servers[1].internal_address, "--etcd", "127.0.0.1:1")
    listed = {(each["service"], each["server_id"], each["state"]) for each in await operator.documents("servers", *at)}
    services = ("chat", "media", "notify", "presence")
    replicas = [(name, each.address) for name in services for each in stack.replicas(name)]
    assert listed == {(name, address, "SERVER_STATE_SERVING") for name, address in replicas}
    described = await operator.lines("servers", stack.chat_servers[1].address, *at)
    assert ["PARLEY_DRAIN_SECONDS", f"{DRAIN_S:.1f}"] in [line.split() for line in described]
    assert not any("mongodb://" in line or "redis://" in line for line in described)
    [rings] = await operator.documents("ring", *at)
    assert [len(ring["members"]) for ring in rings["rings"].values()] == [3, 3, 3]


async def test_dead_letter_is_listed_and_deleted(fragile_world: World, operator: Operator) -> None:
    async with Pushes(fragile_world) as pushes:
        await pushes.add_fields({"event": b"\xff\xff"})

        async def is_counted() -> bool:
            [queue] = await operator.documents("queues")
            return bool(queue["dead_letters"] == "1" and queue["events"] == "0" and len(queue["consumers"]) == 2)

        await eventually(is_counted, COMMAND_S)
    [letter] = await operator.documents("dead-letters", "list")
    assert await operator.documents("dead-letters", "delete", letter["id"]) == [{"deleted_count": 1}]
    assert await operator.documents("dead-letters", "list") == []
    logs = "\n".join(audit_lines(each) for each in fragile_world.stack.replicas("notify"))
    assert "dead_letter_deletion" in logs
    assert letter["id"] in logs


async def test_administration_of_accounts_and_groups_is_audited(fragile_world: World) -> None:
    alice, bob = await fragile_world.register("alice"), await fragile_world.user("bob")
    login_name = (await alice.call(account_pb2.GetProfileRequest())).profile.login_name
    refused = await calls.refused(
        fragile_world.channel(fragile_world.stack.door),
        account_pb2.LoginRequest(login_name=login_name, password="hush-hush"),
    )
    assert refused.reason == "CREDENTIALS_INVALID"
    group = await alice.group("Hush", [bob])
    role = conversation_pb2.SetRoleRequest(
        request_id=new_id(), conversation_id=group, user_id=bob.user_id, role=entry_pb2.ROLE_ADMIN
    )
    await alice.call(role)
    visibility = presence_pb2.Visibility(online=presence_pb2.AUDIENCE_NOBODY)
    await alice.call(presence_pb2.SetVisibilityRequest(visibility=visibility))
    stack = fragile_world.stack
    lines = [
        line
        for service in ("chat", "presence")
        for each in stack.replicas(service)
        for line in audit_lines(each).splitlines()
        if alice.user_id in line
    ]
    events = ("account_registration", "sign_in", "group_creation", "role_change", "visibility_change")
    assert {event for event in events if any(event in line for line in lines)} == set(events)
    [failed] = [line for line in lines if "CREDENTIALS_INVALID" in line]
    assert "failure" in failed
    # Neither the title nor a password or a name is in any line.
    assert not any(text in line for line in lines for text in ("Hush", "hush", PASSWORD, login_name))

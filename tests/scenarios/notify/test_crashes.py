"""Queued pushes survive the death of notify servers, and operators look at what failed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from devstack.servers.service import ServiceReplica
from devstack.stack import Stack
from parley.internal.v1 import notify_pb2
from servicekit.tasks import gather_limited
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.pushes import QUEUE, Pushes
from tests.raw.world import World

pytestmark = [pytest.mark.scenario, pytest.mark.fault]

MEMBERS = 20
# Of each account, and of the accounts in each of GROUPS groups: ten thousand tokens and conversations in all.
DEVICES = 10
CROWD = 25
GROUPS = 40
# Events of a server that died are claimed after 30 s.
CLAIMED_S = 60.0
# Ten thousand pushes take 40 s of a core, of which a busy machine may give a third.
SENT_S = 120.0


@pytest.fixture
async def pushes(fragile_world: World) -> AsyncIterator[Pushes]:
    async with Pushes(fragile_world) as pushes:
        yield pushes


async def start_group(world: World, pushes: Pushes) -> tuple[RawDevice, str, list[RawDevice]]:
    """Return a connected author, a group, and its other members, each with a token; all have been told of it."""
    alice, *members = await world.users("alice", *[f"member {each}" for each in range(MEMBERS)])
    await asyncio.gather(*map(pushes.register, members))
    await alice.connect()
    group = await alice.group("Friday", members)
    await eventually(lambda: len(pushes.recorded(*members)) == MEMBERS, CLAIMED_S)
    await pushes.wait_drained()
    return alice, group, members


async def test_server_killed_before_the_send_pushes_exactly_once(fragile_world: World, pushes: Pushes) -> None:
    alice, group, members = await start_group(fragile_world, pushes)
    seq = await send_and_kill_before_the_push(fragile_world, pushes, alice, group)
    await start(pushes.servers)
    await pushes.wait_drained(CLAIMED_S)
    assert count_pushes(pushes, seq, members) == {each.device_id: 1 for each in members}


async def test_events_of_a_killed_server_are_claimed_by_another_one(fragile_world: World, pushes: Pushes) -> None:
    alice, group, members = await start_group(fragile_world, pushes)
    victim, other = pushes.servers
    await asyncio.to_thread(other.terminate)
    seq = await send_and_kill_before_the_push(fragile_world, pushes, alice, group)
    await start([other])
    await pushes.wait_drained(CLAIMED_S)
    assert not victim.running
    assert count_pushes(pushes, seq, members) == {each.device_id: 1 for each in members}


async def test_server_killed_between_send_and_acknowledgement_repeats_with_one_collapse_id(
    fragile_world: World, pushes: Pushes
) -> None:
    alice, group, members = await start_group(fragile_world, pushes)
    seq = await alice.sent(group, "hello")
    # The event is acknowledged once all have been sent.
    await eventually(lambda: ("message", seq) in pushes.kinds(*members), 20)
    for server in pushes.servers:
        server.kill()
    await start(pushes.servers)
    await pushes.wait_drained(CLAIMED_S)
    counts = count_pushes(pushes, seq, members)
    assert counts.keys() == {each.device_id for each in members}
    assert max(counts.values()) <= 2
    assert {each["collapse_id"] for each in pushes.recorded(*members)} == {group}


async def test_events_queued_while_no_server_runs_are_pushed_once(fragile_world: World, pushes: Pushes) -> None:
    alice, group, members = await start_group(fragile_world, pushes)
    for server in pushes.servers:
        await asyncio.to_thread(server.terminate)
    seq = await alice.sent(group, "hello")
    await pushes.wait_queued(MEMBERS)
    assert count_pushes(pushes, seq, members) == {}
    await start(pushes.servers)
    await pushes.wait_drained(CLAIMED_S)
    assert count_pushes(pushes, seq, members) == {each.device_id: 1 for each in members}


@pytest.mark.timeout(400)
async def test_ten_thousand_queued_pushes_survive_the_death_of_all_but_redis(
    fragile_world: World, pushes: Pushes
) -> None:
    alice, *members = await fragile_world.users("alice", *[f"member {each}" for each in range(CROWD)])
    devices = [*members, *[await fragile_world.add_device(each) for _ in range(DEVICES - 1) for each in members]]
    await alice.connect()
    groups = [await alice.group(f"group {each}", members) for each in range(GROUPS)]
    await gather_limited(pushes.register, devices, limit=50)
    for server in pushes.servers:
        server.kill()
    seqs = {group: await alice.sent(group, "hello") for group in groups}
    await pushes.wait_queued(CROWD * GROUPS)
    for process in fragile_world.stack.processes.values():
        if process.name != "valkey":
            process.kill()
    await asyncio.to_thread(fragile_world.stack.start_processes, 60.0)
    await pushes.wait_drained(CLAIMED_S + SENT_S)
    recorded = [each for each in pushes.recorded(*devices) if each["seq"] == seqs[each["conversation_id"]]]
    assert len({(each["token"], each["collapse_id"]) for each in recorded}) == CROWD * DEVICES * GROUPS == 10_000


async def test_operator_lists_and_requeues_what_failed(fragile_world: World, pushes: Pushes) -> None:
    bob = await fragile_world.user("bob")
    traced = await run_command(fragile_world.stack, "push", "trace", bob.user_id)
    assert traced == "no decision in the last 7 days\n"
    await pushes._redis.xadd(QUEUE, {"event": b"\xff"})
    request = notify_pb2.ListDeadLettersRequest()

    async def letters() -> list[notify_pb2.DeadLetter]:
        return list((await pushes.call_admin(request)).dead_letters)

    await eventually(letters)
    [letter] = await letters()
    listed = await run_command(fragile_world.stack, "dead-letters", "list")
    assert listed.startswith(letter.id)
    assert "the bytes are not a valid QueuedPush" in listed
    assert await run_command(fragile_world.stack, "dead-letters", "requeue", letter.id) == "1 of 1 requeued\n"
    # It fails again, under a new id.
    await eventually(letters)
    [again] = await letters()
    assert again.id != letter.id
    assert await run_command(fragile_world.stack, "push", "test", bob.user_id) == "the user has no push token\n"
    await pushes.register(bob)
    assert "fcm  accepted" in await run_command(fragile_world.stack, "push", "test", bob.user_id)


async def send_and_kill_before_the_push(world: World, pushes: Pushes, alice: RawDevice, group: str) -> int:
    """Send a message, and kill the notify servers once one has taken it, and before it is pushed; return the seq."""
    mongod, servers = world.stack.processes["mongod"], [each for each in pushes.servers if each.running]
    for server in servers:
        server.freeze()
    seq = await alice.sent(group, "hello")
    await pushes.wait_queued(MEMBERS)
    mongod.freeze()
    for server in servers:
        server.resume()
    # It waits for the tokens.
    await pushes.wait_taken()
    for server in servers:
        server.kill()
    mongod.resume()
    return seq


def count_pushes(pushes: Pushes, seq: int, members: Sequence[RawDevice]) -> Counter[str]:
    """Return how often an entry was pushed to each token."""
    return Counter(each["token"] for each in pushes.recorded(*members) if each["seq"] == seq)


async def start(servers: Sequence[ServiceReplica]) -> None:
    """Start servers and wait until they are healthy."""
    for server in servers:
        server.start()
    for server in servers:
        await asyncio.to_thread(server.wait_healthy)


async def run_command(stack: Stack, *arguments: str) -> str:
    """Return the output of a command of `parley admin`, which must succeed."""
    environment = {
        **os.environ,
        "PARLEY_ETCD_ENDPOINTS": stack.etcd_endpoint,
        "PARLEY_SERVICE_CREDENTIAL_FILE": str(stack.layout.secrets.credential),
    }
    command = [f"{sys.prefix}/bin/parley", "admin", *arguments]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
        cwd=Path(__file__).parents[3],
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return str(done.stdout)

"""A chat server is killed or drained: acknowledged entries are kept, and its devices continue on other servers."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pytest

from devstack.managed_process import ManagedProcess
from tests.eventually import eventually
from tests.raw.device import RawDevice, new_id
from tests.raw.follower import Follower
from tests.raw.refusal import of_status
from tests.raw.stream import StreamEnded
from tests.raw.world import World
from tests.scenarios.conftest import DRAIN_S

pytestmark = [pytest.mark.scenario, pytest.mark.fault]

BACK_S = 5.0
"""Seconds within which devices are back and caught up when connections are refused, by contract."""
MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Alice and bob in a conversation whose owner, bob's home and both users' edge are three servers."""

    world: World
    alice: RawDevice
    bob: RawDevice
    conversation: str
    edge: str
    home: str
    owner: str

    def server(self, role: Literal["edge", "home", "owner"]) -> ManagedProcess:
        address = getattr(self, role)
        return next(each for each in self.world.stack.chat_servers if each.address == address)

    def check_logs(self, *bodies: str) -> None:
        """Check that both have the log without a gap, with these texts in this order."""
        for device in (self.alice, self.bob):
            held = sorted(device.logs[self.conversation])
            assert held == list(range(held[0], held[-1] + 1)), "a gap"
            assert device.bodies(self.conversation) == list(bodies)


@pytest.fixture
async def scenario(fragile_world: World) -> Scenario:
    world = fragile_world
    edge, home, owner = world.servers
    alice, bob = await world.pair(owner, home)
    conversation = await alice.direct(bob)
    assert world.owner_of(conversation) == owner
    return Scenario(world, alice, bob, conversation, edge, home, owner)


async def test_sends_acknowledged_by_killed_owner_reach_every_device(scenario: Scenario) -> None:
    alice, bob, conversation = scenario.alice, scenario.bob, scenario.conversation
    for device in (alice, bob):
        await device.connect(at=scenario.edge)
    keys = [await alice.send(conversation, f"{number}") for number in range(30)]
    seqs = [(await alice.next_result(key)).appended.seq for key in keys]
    scenario.server("owner").kill()
    assert seqs == list(range(2, 32))
    seen_by_now = max(bob.logs[conversation], default=0)
    for device in (alice, bob):
        await caught_up(device, conversation, 31)
    scenario.check_logs(*(f"{number}" for number in range(30)))
    assert await alice.sent(conversation, "to the next owner") == 32, f"bob had {seen_by_now} when it died"
    await bob.has_all(conversation, 32)


async def caught_up(device: RawDevice, conversation: str, head: int) -> None:
    """Wait until a device on an open stream has the log up to `head`, live or by an unsolicited `changes`."""
    deadline = time.monotonic() + BACK_S * MARGIN
    while head not in device.logs[conversation] and time.monotonic() < deadline:
        with suppress(AssertionError):
            if conversation in (await device.stream.next_frame("changes", timeout=0.05)).conversation_ids:
                await device.fetch(conversation)
    assert head in device.logs[conversation]


@pytest.mark.parametrize("role", ["owner", "home"])
async def test_killed_server_never_lowers_watermarks(scenario: Scenario, role: Literal["owner", "home"]) -> None:
    alice, bob, conversation = scenario.alice, scenario.bob, scenario.conversation
    laptop = await scenario.world.add_device(alice)
    for device in (alice, laptop, bob):
        await device.connect(at=scenario.edge)
    for number in range(40):
        await alice.sent(conversation, f"{number}")
    # Bob reads faster than receipts are written; in the middle of it the server is killed.
    for seq in range(2, 42):
        await bob.receipt(conversation, delivered=41, read=seq)
        if seq == 20:
            await eventually(lambda: alice.marks_told[conversation, bob.user_id])
            scenario.server(role).kill()
        # As fast as a person scrolls.
        await asyncio.sleep(0.01)
    reader = conversation, bob.user_id
    for device in (alice, laptop):
        await eventually(partial(has_marks, device, reader, (41, 41)), BACK_S * MARGIN)
        told = device.marks_told[reader]
        assert told == sorted(told), "they never go backwards"
        await device.fetch(conversation)
        assert device.watermarks[reader] == (41, 41)


def has_marks(device: RawDevice, whose: tuple[str, str], marks: tuple[int, int]) -> bool:
    return device.watermarks.get(whose) == marks


@pytest.mark.parametrize("role", ["owner", "home", "edge"])
async def test_conversation_continues_after_server_kill(
    scenario: Scenario, role: Literal["owner", "home", "edge"]
) -> None:
    # Whose edge dies finds another through the door; the others know of no door that could cut them off.
    where = {"home": scenario.edge} if role == "edge" else {"at": scenario.edge}
    async with Follower(scenario.alice, **where) as alice, Follower(scenario.bob, **where) as bob:
        await send_during_kill(scenario, scenario.server(role), alice)
        assert (alice.streams > 1) == (bob.streams > 1) == (role == "edge")


@pytest.mark.parametrize("role", ["owner", "home"])
async def test_conversation_continues_after_server_kill_while_etcd_is_frozen(
    scenario: Scenario, role: Literal["owner", "home"]
) -> None:
    etcd = scenario.world.stack.processes["etcd"]
    async with Follower(scenario.alice, at=scenario.edge) as alice, Follower(scenario.bob, at=scenario.edge):
        etcd.freeze()
        try:
            await send_during_kill(scenario, scenario.server(role), alice)
        finally:
            etcd.resume()
    await scenario.world.wait_ring_settled()


async def send_during_kill(scenario: Scenario, server: ManagedProcess, alice: Follower) -> None:
    """Send sixty messages and kill the server meanwhile; all messages arrive in time."""
    bodies, killed = [f"{number}" for number in range(60)], 0.0
    for number, body in enumerate(bodies):
        alice.send(scenario.conversation, body)
        if number == 30:
            server.kill()
            killed = time.monotonic()
        # At a pace a person's phone may keep.
        await asyncio.sleep(0.06)
    await alice.wait_acknowledged()
    await scenario.bob.has(scenario.conversation, *bodies)
    assert time.monotonic() - killed < (BACK_S + 30 * 0.06) * MARGIN
    await scenario.alice.has(scenario.conversation, *bodies)
    scenario.check_logs(*bodies)
    assert alice.seqs(*alice.acknowledged) == list(range(2, 62)), "each was taken once, in the order it was sent"


async def test_other_servers_survive_server_kill(scenario: Scenario) -> None:
    scenario.server("owner").kill()
    await scenario.world.wait_ring_settled()
    others = [scenario.server("edge"), scenario.server("home")]
    assert all(server.running for server in others)
    assert not any("Traceback" in server.log.read_text() for server in others)


async def test_draining_server_lets_devices_move(scenario: Scenario) -> None:
    alice, bob, conversation = scenario.alice, scenario.bob, scenario.conversation
    await alice.connect(at=scenario.edge)
    await bob.connect(at=scenario.home)
    edge = scenario.server("edge")
    edge.request_stop()
    drain = await alice.stream.next_frame("drain")
    assert 0 <= drain.delay.ToMilliseconds() <= 1000 * DRAIN_S
    assert await alice.sent(conversation, "still from the old place") == 2
    first = alice.stream
    await alice.connect(alice.cursor, home=scenario.home)
    assert await alice.sent(conversation, "from the new place") == 3
    await bob.has(conversation, "still from the old place", "from the new place")
    assert (await first.wait_ended()).code in {"OK", "UNAVAILABLE"}
    await asyncio.to_thread(edge.wait_exited)
    assert edge.returncode == 0
    assert "Traceback" not in edge.log.read_text()


async def test_device_remaining_after_drain_is_disconnected_with_reason(scenario: Scenario) -> None:
    await scenario.alice.connect(at=scenario.edge)
    edge = scenario.server("edge")
    edge.request_stop()
    await scenario.alice.stream.next_frame("drain")
    assert (await scenario.alice.stream.final_error()).code_and_reason == ("UNAVAILABLE", "SERVER_DRAINING")
    assert (await scenario.alice.stream.wait_ended()).code_and_reason == ("UNAVAILABLE", "SERVER_DRAINING")
    await asyncio.to_thread(edge.wait_exited)
    assert edge.returncode == 0


@pytest.mark.parametrize("role", ["owner", "edge"])
async def test_sends_during_drain_are_answered_or_retryable(scenario: Scenario, role: Literal["owner", "edge"]) -> None:
    alice, bob, conversation = scenario.alice, scenario.bob, scenario.conversation
    await alice.connect(at=scenario.edge)
    await bob.connect(at=scenario.home)
    leaving = scenario.server(role)
    leaving.request_stop()
    keys: list[str] = []
    with suppress(StreamEnded):
        while leaving.running:
            keys.append(new_id())
            await alice.send(conversation, f"{len(keys) - 1}", client_message_id=keys[-1])
            # Below the rate at which sends are refused.
            await asyncio.sleep(0.055)
    assert keys
    await asyncio.to_thread(leaving.wait_exited)
    assert leaving.returncode == 0
    await scenario.world.wait_ring_settled()
    await check_answers(alice, keys)
    if not alice.stream.open:
        await alice.connect(home=scenario.home)
        await alice.fetch(conversation, limit=500)
    for number, key in enumerate(keys):
        seq = await send_with_retries(alice, conversation, f"{number}", key)
        assert seq == number + 2, "in the order they were first sent"
    for device in (alice, bob):
        await caught_up(device, conversation, len(keys) + 1)
    scenario.check_logs(*(f"{number}" for number in range(len(keys))))


async def check_answers(device: RawDevice, keys: list[str]) -> None:
    """Check that all sends on an open stream are answered, and that refusals are temporary."""
    if device.stream.open:
        await eventually(lambda: all(device.answers[key] for key in keys))
    for key in keys:
        for answer in device.answers.pop(key, []):
            assert answer.HasField("appended") or of_status(answer.refused).code == "UNAVAILABLE", answer


async def send_with_retries(device: RawDevice, conversation: str, body: str, key: str) -> int:
    seqs: list[int] = []

    async def taken() -> bool:
        answer = await device.next_result(await device.send(conversation, body, client_message_id=key))
        seqs.append(answer.appended.seq)
        return answer.HasField("appended")

    await eventually(taken)
    return seqs[-1]

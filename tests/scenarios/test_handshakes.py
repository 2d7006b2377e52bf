"""Concurrent handshakes are limited; a refused device gets a retry delay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from devstack.services import CHAT
from devstack.stack import Stack
from tests.raw.device import RawDevice
from tests.raw.refusal import Refusal
from tests.raw.stream import StreamEnded
from tests.raw.world import World
from tests.scans import no_scans

pytestmark = pytest.mark.scenario

CROWD = 60
BUSY = ("UNAVAILABLE", "SERVER_BUSY")


@pytest.fixture(scope="module")
def handshake_limited_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server that accepts two handshakes at a time."""
    few = {"PARLEY_HANDSHAKES": "2"}
    with (
        Stack(tmp_path_factory.mktemp("handshake_limited_stack"), 1, services=(CHAT,), environment=few) as stack,
        no_scans(stack.mongo_uri),
    ):
        yield stack


async def connect_with_retries(device: RawDevice) -> list[Refusal]:
    """Connect until accepted; return the refusals before."""
    refused: list[Refusal] = []
    while True:
        try:
            await device.connect()
            return refused
        except (AssertionError, StreamEnded):
            refused.append(await device.stream.wait_ended())
            # As devices do: at the time they were told.
            await asyncio.sleep(refused[-1].retry_after or 0)


async def test_refused_handshakes_succeed_after_retry_delay(handshake_limited_stack: Stack) -> None:
    async with World(handshake_limited_stack) as world:
        devices = await world.users(*(f"device-{number}" for number in range(CROWD)))
        async with asyncio.timeout(60):
            outcomes = await asyncio.gather(*map(connect_with_retries, devices))
        refused = [refusal for outcome in outcomes for refusal in outcome]
        assert refused, "they came one after the other"
        assert {refusal.code_and_reason for refusal in refused} == {BUSY}
        assert all(refusal.retry_after is not None and refusal.retry_after > 0 for refusal in refused)
        # Whoever is in stays in, and works.
        assert all(device.stream.open for device in devices)
        conversation = await devices[0].direct(devices[1])
        await devices[0].sent(conversation, "so many people")
        await devices[1].has(conversation, "so many people")

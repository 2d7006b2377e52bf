"""A device says goodbye by cancelling its stream, which frees everything at once and is no failure."""

from __future__ import annotations

import asyncio
import urllib.request

import grpc
import pytest

from parley.chat.v1 import chat_pb2
from servicekit.open_streams import MAX_DEVICE_STREAMS
from tests.eventually import eventually
from tests.raw.device import RawDevice
from tests.raw.world import World

pytestmark = pytest.mark.scenario


async def finished_streams(world: World, server: int) -> dict[str, float]:
    """Return the number of finished Connect streams of a server, by code."""
    address = world.stack.chat_servers[server].metrics_address

    def read() -> str:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    lines = (await asyncio.to_thread(read)).splitlines()
    found = [line for line in lines if line.startswith("parley_rpc_finished_total{") and 'method="Connect"' in line]
    return {line.split('code="')[1].split('"')[0]: float(line.rpartition(" ")[2]) for line in found}


async def leave(world: World, device: RawDevice) -> None:
    await device.connect(at=world.servers[0])
    await device.stream.close()


async def test_cancelled_stream_frees_its_slot_and_counts_as_no_failure(world: World) -> None:
    alice, log = await world.user("alice"), world.stack.chat_servers[0].log
    before, written = await finished_streams(world, 0), log.stat().st_size
    for _ in range(3 * MAX_DEVICE_STREAMS):
        await leave(world, alice)

    async def all_finished() -> bool:
        after = await finished_streams(world, 0)
        return after.get("CANCELLED", 0) == before.get("CANCELLED", 0) + 3 * MAX_DEVICE_STREAMS

    await eventually(all_finished)
    after = await finished_streams(world, 0)
    assert {code for code in after if after[code] != before.get(code, 0)} == {"CANCELLED"}
    with log.open("rb") as lines:
        lines.seek(written)
        assert alice.user_id not in "".join(
            line for line in lines.read().decode().splitlines() if "call failed" in line
        )


async def test_half_closed_stream_goes_on_until_it_is_cancelled(world: World) -> None:
    alice = await world.user("alice")
    await alice.connect(at=world.servers[0])
    await alice.stream.half_close()
    # A second stream takes the place of the first one; a half-closed stream is superseded as any other.
    first = alice.stream
    await alice.connect(at=world.servers[0])
    assert (await first.wait_ended()).code == grpc.StatusCode.OK.name
    await alice.stream.send_frame(heartbeat=chat_pb2.HeartbeatRequest())
    await alice.stream.next_frame("heartbeat")

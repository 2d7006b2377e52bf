"""The metrics of a running system: what a message and a wrong frame move, whom they name, and those of Envoy."""

from __future__ import annotations

import asyncio
import re

import pytest

from devstack.local_http import fetch
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2
from tests.eventually import eventually
from tests.promql import metric_names
from tests.promtool import run_promtool
from tests.raw.device import new_id, text
from tests.raw.world import World
from tests.scenarios.conftest import Scene
from tests.unit.test_alerts import alerts
from tests.unit.test_dashboards import ENVOY_LABELS, queries

pytestmark = pytest.mark.scenario

# What one message between users with different homes, and its receipt, must move on some server.
OF_A_MESSAGE = (
    "parley_entries_appended_total",
    "parley_commit_entries_count",
    "parley_commit_seconds_count",
    "parley_fan_out_deliveries_total",
    "parley_fan_out_users_total",
    "parley_session_deliveries_total",
    "parley_delivery_seconds_count",
    "parley_mesh_lag_seconds_count",
    "parley_receipts_total",
    "parley_receipt_write_seconds_count",
)


async def scrape(stack: Stack, *services: str) -> list[str]:
    """Return the metrics of each server of these services, by default of chat."""
    addresses = [server.metrics_address for service in services or ("chat",) for server in stack.replicas(service)]
    pages = await asyncio.gather(*(asyncio.to_thread(fetch, f"http://{each}/metrics") for each in addresses))
    return [page.decode() for page in pages]


def total(pages: list[str], series: str) -> float:
    """Return the sum of a series over all servers."""
    values = [re.findall(rf"^{re.escape(series)} (\S+)$", page, flags=re.MULTILINE) for page in pages]
    return sum(float(value) for found in values for value in found)


async def test_message_moves_the_metrics_of_each_of_its_steps(stack: Stack, world: World) -> None:
    before = await scrape(stack)
    alice, bob = await world.users_where(world.servers[:2])
    await asyncio.gather(alice.connect(), bob.connect())
    conversation = await alice.direct(bob)
    seq = await alice.sent(conversation, "hello")
    await bob.has(conversation, "hello")
    await bob.receipt(conversation, delivered=seq, read=seq)
    await alice.has_receipts(conversation, bob, delivered=seq, read=seq)

    async def moved() -> bool:
        after = await scrape(stack)
        still = [series for series in OF_A_MESSAGE if total(after, series) <= total(before, series)]
        assert not still, f"unmoved: {still}"
        return True

    await eventually(moved)


async def test_rejected_frames_are_counted_by_reason(stack: Stack, scene: Scene) -> None:
    unparsable, missing = (
        f'parley_frames_rejected_total{{reason="{each}"}}' for each in ("FRAME_UNPARSABLE", "HELLO_MISSING")
    )
    before = await scrape(stack)
    await scene.alice.stream.write(b"\xff" * 100)
    await scene.alice.stream.wait_ended()
    stream = scene.alice.dial(home=scene.edge)
    await stream.half_close()
    await stream.wait_ended()
    after = await scrape(stack)
    assert total(after, unparsable) >= total(before, unparsable) + 1
    assert total(after, missing) >= total(before, missing) + 1


async def test_refused_sends_of_streams_and_calls_are_counted(stack: Stack, scene: Scene) -> None:
    series = 'parley_sends_refused_total{reason="CONVERSATION_NOT_FOUND"}'
    before = total(await scrape(stack), series)
    nowhere = "c" * 32
    await scene.alice.refused(nowhere, "is anybody here?")
    await scene.alice.refusal(
        chat_pb2.SendMessageRequest(
            conversation_id=nowhere, client_message_id=new_id(), content=text("is anybody here?")
        )
    )
    assert total(await scrape(stack), series) == before + 2


async def test_metrics_name_neither_users_nor_conversations_nor_content(stack: Stack, scene: Scene) -> None:
    await scene.alice.sent(scene.conversation, "a-canary")
    await scene.alice.has(scene.conversation, "a-canary")
    private = {"a-canary", scene.conversation, scene.alice.user_id, scene.alice.device_id, scene.bob.user_id}
    for page in await scrape(stack, "chat", "media", "presence", "notify"):
        assert "parley_rpc_seconds" in page
        assert not [each for each in private if each in page]


async def test_servers_count_the_changes_of_each_ring(stack: Stack) -> None:
    for page in await scrape(stack):
        for service in ("chat", "presence", "media"):
            assert total([page], f'parley_ring_changes_total{{service="{service}"}}') >= 1


async def test_promtool_finds_no_fault_with_what_servers_serve(stack: Stack) -> None:
    for page in await scrape(stack, "chat", "media", "presence", "notify"):
        assert await asyncio.to_thread(run_promtool, "check", "metrics", stdin=page) == ""


async def test_envoy_has_the_metrics_of_dashboards_and_alerts(stack: Stack) -> None:
    port = stack.layout.ports.envoy_admin
    page = (await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/stats/prometheus")).decode()
    exported = set(re.findall(r"^(envoy_\w+)", page, flags=re.MULTILINE))
    expressions = [*queries(), *(rule["expr"] for rule in alerts().values())]
    read = {name for each in expressions for name in metric_names(each) if name.startswith("envoy_")}
    assert read - exported == set()
    assert ENVOY_LABELS - set(re.findall(r"(envoy_\w+)=", page)) == set()
    assert 'envoy_cluster_membership_healthy{envoy_cluster_name="chat"} ' in page

"""The work of servers: each event has the cost of its name, and nothing that the benchmark includes counts twice."""

from dataclasses import replace

import pytest

from bench.capacity import loads
from bench.capacity.costs import Costs, choose_costs
from bench.capacity.demand import compute_demand
from bench.capacity.limits import Limits
from bench.capacity.mesh import direct_frames
from bench.capacity.plan import make_plan
from bench.capacity.usage_model import UsageModel

COSTS = Costs()
# One recipient, connected with one device, and as many receipts as the benchmark's message has.
LIKE_THE_BENCHMARK = UsageModel(
    daily_users=1e6, group_share=0, connected_recipients=1, devices_per_user=1, receipts_per_delivery=0.4
)


def test_work_has_the_cost_of_its_name() -> None:
    plan = make_plan(UsageModel(), choose_costs(None, {}), Limits())
    assert set(plan.events) == {"chat", "Envoy", "presence", "notify", "media", "MongoDB shards", "Redis"}
    for events in plan.events.values():
        for name, work in events.items():
            assert work.microseconds == getattr(COSTS, name)


def test_cores_by_hand() -> None:
    assert loads.Work(2000, 250).cores == pytest.approx(0.5)
    assert loads.sum_cores({"a": loads.Work(2000, 250), "b": loads.Work(10, 1e5)}) == pytest.approx(1.5)


def test_messages_like_those_of_the_benchmark_have_its_cost_alone() -> None:
    events = loads.chat_events(compute_demand(LIKE_THE_BENCHMARK), COSTS, measured_receipts=0.4, servers=2)
    assert events["chat_message"].rate == pytest.approx(1e6 * 40 * 3 / 86_400)
    for name in ("chat_delivery", "chat_receipt", "chat_mesh_frame"):
        assert events[name].rate == pytest.approx(0, abs=1e-9), name


def test_mesh_frames_at_many_servers_by_hand() -> None:
    demand = compute_demand(LIKE_THE_BENCHMARK)
    # At 100 servers 99 of 100 pairs of homes are apart, at two of them half of the pairs.
    further = demand.messages * (0.99 - 0.5) * (1.5 + 0.4 * 1.5)
    assert loads.further_mesh_frames(demand, 0.4, 100) == pytest.approx(further)
    assert direct_frames(2, 0.4) == pytest.approx(0.5 * 2.1)


def test_groups_without_recipients_who_are_connected_still_cost_frames() -> None:
    usage = replace(LIKE_THE_BENCHMARK, group_share=1, group_size=12, connected_recipients=0)
    # 11 recipients on nearly 11 of 100,000 servers, and the send and its answer.
    frames = loads.mesh_frames(compute_demand(usage), 100_000)
    assert frames / compute_demand(usage).messages == pytest.approx(13, rel=1e-3)


def test_memory_of_redis_by_hand() -> None:
    usage = UsageModel(
        daily_users=1e6, registered_per_daily=2, conversations_per_user=50, online_share=0.1, queued_seconds=100
    )
    costs = replace(COSTS, index_bytes=100, presence_bytes=1000, event_bytes=500)
    demand = compute_demand(usage)
    waiting = demand.pushes * 100
    memory = loads.redis_gigabytes(usage, demand, costs, queue_events=1e9)
    assert memory == pytest.approx(10 + 0.1 + waiting * 500 / 1e9)
    # The queue of Redis is bounded.
    assert loads.redis_gigabytes(usage, demand, costs, queue_events=waiting / 2) == pytest.approx(
        10 + 0.1 + waiting / 2 * 500 / 1e9
    )


def test_traffic_of_streams_by_hand() -> None:
    usage = replace(LIKE_THE_BENCHMARK, text_bytes=100, online_share=0, changes_per_user=0)
    demand = compute_demand(usage)
    # A message of 450 bytes goes in and out; 0.4 receipts of 350 bytes go in and out.
    assert loads.stream_megabytes(usage, demand, COSTS) == pytest.approx(demand.messages * (900 + 280) / 1e6)

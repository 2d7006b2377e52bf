"""The servers of a plan: hand-computed counts, the need that decides, and growth with every load."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity.assumption import parameters
from bench.capacity.costs import Costs, choose_costs
from bench.capacity.limits import Limits
from bench.capacity.plan import Plan, make_plan
from bench.capacity.sizing import Infeasible
from bench.capacity.usage_model import UsageModel

MILLION = UsageModel(daily_users=1e6)
LIMITS = Limits()
ASSUMED = choose_costs(None, {})
FREE = {each.name: 0.0 for each in parameters(Costs)}
# More of these never needs fewer servers. A longer interval or lifetime needs fewer, and is not among them.
LOADS = (
    "daily_users",
    "registered_per_daily",
    "peak_factor",
    "online_share",
    "devices_per_user",
    "foreground_share",
    "messages_per_user",
    "text_bytes",
    "group_share",
    "group_size",
    "connected_recipients",
    "away_recipients",
    "pushes_per_delivery",
    "receipts_per_delivery",
    "touched_share",
    "connects_per_user",
    "changes_per_user",
    "watchers",
    "media_share",
    "picture_megabytes",
    "picture_megapixels",
    "other_megabytes",
    "downloads_per_recipient",
    "downloaded_share",
    "history_days",
    "media_days",
    "conversations_per_user",
    "queued_seconds",
)
INTERVALS = ["token_seconds", "foreground_heartbeat_seconds", "background_heartbeat_seconds"]


def counts(plan: Plan) -> dict[str, int]:
    return {kind: group.count for kind, group in plan.groups.items()}


def plan_with_costs(usage: UsageModel, limits: Limits = LIMITS, **given_costs: float) -> Plan:
    return make_plan(usage, choose_costs(None, {**FREE, **given_costs}), limits)


def test_chat_servers_by_cpu() -> None:
    # 1,388.9 messages a second of 1 ms use 1.39 cores; at 0.6 cores a server that is 2.3 servers, and a spare one.
    plan = plan_with_costs(MILLION, replace(LIMITS, chat_streams=1e9), chat_message=1000)
    assert plan.groups["chat"].needs[0].load == pytest.approx(1e6 * 40 * 3 / 86_400 * 1e-3)
    assert plan.groups["chat"].count == 3 + 1
    assert plan.groups["chat"].binding.resource == "CPU"


def test_chat_servers_by_streams() -> None:
    # 260,000 streams, 20,000 a server.
    plan = plan_with_costs(MILLION)
    assert (plan.groups["chat"].count, plan.groups["chat"].binding.resource) == (13 + 1, "streams")


def test_chat_servers_by_memory() -> None:
    # 260,000 streams of 64 KiB are 15.87 GiB. A server has 1 GiB − 256 MiB = 0.75 GiB, less what its mesh streams take:
    # 22 servers have 21 other ones, whose streams take 0.02 GiB of each.
    limits = replace(
        LIMITS, chat_streams=1e9, memory_share=1, chat_memory_gib=1, chat_base_mib=256, mesh_stream_kib=1024
    )
    plan = plan_with_costs(MILLION, limits, chat_stream_kib=64)
    assert (plan.groups["chat"].count, plan.groups["chat"].binding.resource) == (22 + 1, "memory")


def test_envoys_by_connections_and_by_connections_after_an_outage() -> None:
    assert plan_with_costs(MILLION).groups["Envoy"].count == math.ceil(260_000 / 11_250) + 1
    # 260,000 in 2 s, 2,000 a second each.
    quick = plan_with_costs(MILLION, replace(LIMITS, return_seconds=2)).groups["Envoy"]
    assert (quick.count, quick.binding.resource) == (65 + 1, "new connections")


def test_shards_by_disk() -> None:
    # 40 million messages of 500 bytes a day for a year are 7,300 GB; a shard takes 1,500.
    plan = plan_with_costs(replace(MILLION, text_bytes=0), message_bytes=500, stored_share=1)
    shards = plan.groups["MongoDB shards"]
    assert (shards.count, shards.nodes, shards.binding.resource) == (5, 3, "disk")
    assert plan.mongo_terabytes_per_year == pytest.approx(7.3 * 3)


def test_redis_by_memory() -> None:
    # Two million users with 60 conversations of 100 bytes are 12 GB; a Redis takes 12.88.
    assert plan_with_costs(MILLION, index_bytes=100).groups["Redis"].count == 1
    assert plan_with_costs(MILLION, index_bytes=110).groups["Redis"].count == 2


def test_core_seconds_of_a_message_by_hand() -> None:
    plan = plan_with_costs(MILLION, chat_message=2000, mongod_message=500)
    # Every member of a shard does what its primary does.
    assert plan.used_core_seconds == pytest.approx(2e-3 + 3 * 0.5e-3)
    assert plan.core_seconds == pytest.approx(plan.cores / (1e6 * 40 / 86_400))


def test_price_of_a_million_messages_by_hand() -> None:
    limits = replace(LIMITS, core_hour_price=1, disk_price=0, s3_price=0, traffic_price=0)
    plan = plan_with_costs(MILLION, limits, chat_message=1000)
    assert plan.price_per_million == pytest.approx(plan.cores * 24 / 40, rel=1e-9)


def test_an_empty_deployment_has_every_kind_of_server() -> None:
    plan = make_plan(UsageModel(daily_users=1), ASSUMED, LIMITS)
    assert min(counts(plan).values()) >= 1
    assert plan.groups["chat"].count == plan.groups["Envoy"].count == 2


def test_mesh_that_takes_all_memory_is_infeasible() -> None:
    with pytest.raises(Infeasible, match="--chat-memory-gib"):
        make_plan(UsageModel(daily_users=1e8), ASSUMED, replace(LIMITS, chat_memory_gib=0.4))


@given(st.sampled_from(LOADS), st.floats(1e4, 1e8), st.floats(0.1, 0.9))
def test_more_load_never_needs_fewer_servers(name: str, users: float, fraction: float) -> None:
    usage = UsageModel(daily_users=users)
    value = getattr(usage, name)
    bounds = next(each for each in parameters(UsageModel) if each.name == name)
    less = replace(usage, **{name: max(bounds.minimum, value * fraction)})
    few, many = counts(make_plan(less, ASSUMED, LIMITS)), counts(make_plan(usage, ASSUMED, LIMITS))
    assert all(few[kind] <= many[kind] for kind in few), (few, many)


@given(st.sampled_from([each.name for each in parameters(Costs)]), st.floats(1e4, 1e8), st.floats(1, 10))
def test_a_higher_cost_never_needs_fewer_servers(name: str, users: float, factor: float) -> None:
    usage, value = UsageModel(daily_users=users), getattr(ASSUMED.costs, name)
    dear = choose_costs(None, {name: min(1.0, value * factor) if name == "stored_share" else value * factor})
    # With less memory, no number of servers is enough for the dearest streams.
    limits = replace(LIMITS, chat_memory_gib=200)
    few, many = counts(make_plan(usage, ASSUMED, limits)), counts(make_plan(usage, dear, limits))
    assert all(few[kind] <= many[kind] for kind in few), (few, many)


@given(st.sampled_from(INTERVALS), st.floats(1, 10))
def test_a_shorter_interval_never_needs_fewer_servers(name: str, divisor: float) -> None:
    value = getattr(MILLION, name)
    many = counts(make_plan(replace(MILLION, **{name: max(1.0, value / divisor)}), ASSUMED, LIMITS))
    few = counts(make_plan(MILLION, ASSUMED, LIMITS))
    assert all(few[kind] <= many[kind] for kind in few), (few, many)


@given(st.floats(1e3, 1e8))
def test_no_server_is_loaded_beyond_what_it_takes(users: float) -> None:
    plan = make_plan(UsageModel(daily_users=users), ASSUMED, LIMITS)
    for group in plan.groups.values():
        for need in group.needs:
            assert need.load <= group.count * need.per_server, (group.kind, need)


def test_every_parameter_of_usage_is_a_load_or_an_interval() -> None:
    assert {*LOADS, *INTERVALS, "picture_share"} == {each.name for each in parameters(UsageModel)}

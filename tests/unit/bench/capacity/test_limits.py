"""The defaults of the model are the limits of the product, and ceilings count what the product does."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.capacity.ceilings import LEASE_READS_PER_SECOND
from bench.capacity.costs import choose_costs
from bench.capacity.limits import Limits
from bench.capacity.loads import RENEWALS_PER_SECOND
from bench.capacity.plan import Plan, make_plan
from bench.capacity.usage_model import UsageModel
from bench.ring.ring_model import RingModel
from chat_service.limits import Limits as ChatLimits
from chat_service.push.push_queue import MAX_QUEUED
from chat_service.settings import ChatSettings
from presence_service.reports.lease_watch import POLL_INTERVAL_S
from servicekit.redis import MAX_CONNECTIONS
from servicekit.registration import RENEWAL_INTERVAL_S
from tests.kubernetes.manifests import render
from tools import kubernetes

ROOT = Path(__file__).parents[4]
ENVOY = (ROOT / "envoy" / "envoy.yaml").read_text(encoding="utf-8")
ASSUMED = choose_costs(None, {})


def number(pattern: str) -> float:
    match = re.search(pattern, ENVOY)
    assert match is not None, pattern
    return float(match[1])


def used(plan: Plan) -> dict[str, float]:
    return {ceiling.name: ceiling.load for ceiling in plan.ceilings}


def test_limits_of_envoy_are_those_of_its_configuration() -> None:
    limits = Limits()
    envoy = render("base").container("envoy")
    assert limits.envoy_connections == kubernetes.ENVOY_MAX_CONNECTIONS
    assert f"{limits.envoy_memory_gib:.0f}Gi" == envoy.spec["resources"]["limits"]["memory"]
    assert f"{limits.envoy_cores:.0f}" == envoy.spec["resources"]["requests"]["cpu"]
    interval = number(r"tokens_per_fill: \d+, fill_interval: ([\d.]+)s")
    assert limits.envoy_connects == pytest.approx(number(r"tokens_per_fill: (\d+)") / interval)
    assert number(r"max_tokens: (\d+), tokens_per_fill") == RingModel().burst


def test_limits_of_servers_are_those_of_their_settings() -> None:
    defaults = ChatSettings.model_fields
    assert defaults["handshakes"].default == RingModel().handshakes
    assert defaults["token_lifetime"].default == UsageModel().token_seconds
    assert Limits().redis_pool == MAX_CONNECTIONS
    assert Limits().queue_events == MAX_QUEUED
    assert 1 / RENEWAL_INTERVAL_S == RENEWALS_PER_SECOND
    assert 1 / POLL_INTERVAL_S == LEASE_READS_PER_SECOND


def test_intervals_of_heartbeats_are_those_of_welcome() -> None:
    usage = UsageModel()
    fields = ChatLimits.__dataclass_fields__
    assert fields["heartbeat_seconds"].default == usage.foreground_heartbeat_seconds
    assert fields["background_heartbeat_seconds"].default == usage.background_heartbeat_seconds


def test_ceilings_by_hand() -> None:
    plan = make_plan(UsageModel(daily_users=1e6), ASSUMED, Limits())
    counts = {kind: group.count for kind, group in plan.groups.items()}
    chat, presence, notify, media = (counts[kind] for kind in ("chat", "presence", "notify", "media"))
    loads = used(plan)
    assert loads["mesh streams of a chat server"] == chat - 1
    assert loads["connections of a Redis"] == 32 * (chat + presence + notify)
    assert loads["connections of a MongoDB member"] == 10 * (chat + presence + notify + media)
    assert loads["leases of etcd"] == chat + presence + notify + media
    assert loads["primaries of Redis"] == plan.groups["Redis"].binding.servers
    assert loads["pushes that wait"] == pytest.approx(plan.demand.pushes * 60)
    assert loads["queue of pushes"] == pytest.approx(plan.demand.pushes * 60e-6)
    # Each restart is two changes, told to the watchers of that kind; all services watch chat.
    events = 2 * (chat * (chat + presence + notify + media) + presence**2 + notify**2 + media**2)
    assert loads["watchers of etcd"] == pytest.approx(events / 3600)


def test_more_servers_do_not_relieve_the_queue_of_pushes() -> None:
    usage = UsageModel(daily_users=5e7)
    plans = [make_plan(usage, ASSUMED, replace(Limits(), spare_servers=spare)) for spare in (1, 500)]
    few, many = (next(c for c in plan.ceilings if c.name == "queue of pushes") for plan in plans)
    assert few == many
    assert few.used > 1


def test_ceilings_are_sorted_by_their_use() -> None:
    plan = make_plan(UsageModel(), ASSUMED, Limits())
    shares = [ceiling.used for ceiling in plan.ceilings]
    assert shares == sorted(shares, reverse=True)

"""The servers of a deployment: for each kind the needs of its resources, and the one that decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.capacity import loads
from bench.capacity.costs import Costs
from bench.capacity.demand import Demand
from bench.capacity.limits import Limits
from bench.capacity.usage_model import UsageModel

KIB, MIB, GIB = 1024.0, 1024.0**2, 1024.0**3


class Infeasible(Exception):
    """No number of servers is enough; the message names the option that helps."""


@dataclass(frozen=True, slots=True)
class Need:
    """The load of one resource at the peak, and what one server takes of it, both in `unit`."""

    resource: str
    unit: str
    load: float
    per_server: float

    @property
    def servers(self) -> float:
        """The servers that this resource alone needs; infinite if one server takes nothing."""
        return self.load / self.per_server if self.per_server > 0 else math.inf


@dataclass(frozen=True, slots=True)
class ServerGroup:
    """The servers of one kind: `count` servers of `nodes` machines each, `cores` a machine."""

    kind: str
    count: int
    nodes: int
    cores: float
    needs: Sequence[Need]

    @property
    def binding(self) -> Need:
        """The need that decides the count."""
        return max(self.needs, key=lambda need: need.servers)

    @property
    def all_cores(self) -> float:
        """The cores of all machines."""
        return self.count * self.nodes * self.cores


@dataclass(frozen=True, slots=True)
class Scenario:
    """The input of the model: usage, its demand, costs and limits. `receipts` are those of the measured message."""

    usage: UsageModel
    demand: Demand
    costs: Costs
    limits: Limits
    receipts: float


def size_servers(scenario: Scenario) -> Mapping[str, ServerGroup]:
    """Return the servers of each kind by name."""
    limits = scenario.limits
    chat = size_chat(scenario)
    single = {
        "Envoy": (1.0, limits.envoy_cores, _envoy_needs(scenario)),
        "presence": (1.0, limits.presence_cores, [_cpu_need(scenario, "presence", limits.presence_cores)]),
        "notify": (1.0, limits.notify_cores, [_cpu_need(scenario, "notify", limits.notify_cores)]),
        "media": (1.0, limits.media_cores, [_cpu_need(scenario, "media", limits.media_cores)]),
        "MongoDB shards": (limits.mongod_members, limits.mongod_cores, _mongod_needs(scenario)),
        "Redis": (limits.redis_nodes, limits.redis_cores, _redis_needs(scenario)),
        "S3": (1.0, limits.s3_cores, _s3_needs(scenario)),
    }
    groups = {kind: _make_group(kind, *values, _spare(kind, limits)) for kind, values in single.items()}
    return {"chat": chat, **groups, "etcd": _etcd_group(chat, groups, limits)}


def size_chat(scenario: Scenario) -> ServerGroup:
    """Return the chat servers: the least number that carries its own mesh, whose frames and streams grow with it.

    Raise Infeasible if the mesh alone takes all memory.
    """
    limits, count = scenario.limits, 1
    while True:
        needs = _chat_needs(scenario, count)
        required = max(need.servers for need in needs)
        if required <= count:
            return _make_group("chat", 1.0, limits.chat_cores, needs, limits.spare_servers, count)
        if math.isinf(required):
            raise Infeasible(f"The mesh of {count:,} chat servers takes all of their memory; raise --chat-memory-gib.")
        count = math.ceil(required)


def _make_group(
    kind: str, nodes: float, cores: float, needs: Sequence[Need], spare: float, count: int | None = None
) -> ServerGroup:
    required = count if count is not None else math.ceil(max(need.servers for need in needs))
    return ServerGroup(kind, max(1, required) + int(spare), int(nodes), cores, needs)


def _spare(kind: str, limits: Limits) -> float:
    """Return the spare servers; those of shards and Redis are the members and replicas of each."""
    return 0.0 if kind in ("MongoDB shards", "Redis") else limits.spare_servers


def list_events(scenario: Scenario, chat_servers: int = 1) -> Mapping[str, loads.Events]:
    """Return the events of each kind of server that uses CPU, with `chat_servers` chat servers."""
    demand, costs, receipts = scenario.demand, scenario.costs, scenario.receipts
    return {
        "chat": loads.chat_events(demand, costs, receipts, chat_servers),
        "Envoy": loads.envoy_events(demand, costs, receipts),
        "presence": loads.presence_events(demand, costs),
        "notify": loads.notify_events(demand, costs),
        "media": loads.media_events(demand, costs),
        "MongoDB shards": loads.mongod_events(demand, costs, receipts),
        "Redis": loads.redis_events(demand, costs),
    }


def _cpu_need(scenario: Scenario, kind: str, cores: float, chat_servers: int = 1) -> Need:
    load = loads.sum_cores(list_events(scenario, chat_servers)[kind])
    return Need("CPU", "cores", load, cores * scenario.limits.utilisation)


def _chat_needs(scenario: Scenario, servers: int) -> list[Need]:
    demand, costs, limits = scenario.demand, scenario.costs, scenario.limits
    room = limits.chat_memory_gib * GIB * limits.memory_share - limits.chat_base_mib * MIB
    room -= (servers - 1) * limits.mesh_stream_kib * KIB
    return [
        _cpu_need(scenario, "chat", limits.chat_cores, servers),
        Need("streams", "streams", demand.streams, limits.chat_streams),
        Need("memory", "GiB", demand.streams * costs.chat_stream_kib * KIB / GIB, max(0.0, room) / GIB),
    ]


def _envoy_needs(scenario: Scenario) -> list[Need]:
    demand, costs, limits = scenario.demand, scenario.costs, scenario.limits
    kib = costs.envoy_stream_kib + costs.envoy_tls_kib
    return [
        _cpu_need(scenario, "Envoy", limits.envoy_cores),
        Need("connections", "connections", demand.streams, limits.envoy_connections * limits.memory_share),
        Need("memory", "GiB", demand.streams * kib * KIB / GIB, limits.envoy_memory_gib * limits.memory_share),
        Need("new connections", "per s", demand.streams / limits.return_seconds, limits.envoy_connects),
    ]


def _mongod_needs(scenario: Scenario) -> list[Need]:
    limits = scenario.limits
    stored = loads.mongo_gigabytes(scenario.usage, scenario.costs)
    return [
        _cpu_need(scenario, "MongoDB shards", limits.mongod_cores),
        Need("disk", "GB", stored, limits.mongod_gigabytes * limits.memory_share),
        Need("writes", "per s", loads.mongod_writes(scenario.demand), limits.mongod_writes * limits.utilisation),
    ]


def _redis_needs(scenario: Scenario) -> list[Need]:
    limits = scenario.limits
    used = loads.redis_gigabytes(scenario.usage, scenario.demand, scenario.costs, limits.queue_events)
    return [
        _cpu_need(scenario, "Redis", limits.redis_cores),
        Need("memory", "GB", used, limits.redis_memory_gib * GIB / 1e9 * limits.memory_share),
    ]


def _s3_needs(scenario: Scenario) -> list[Need]:
    demand, limits = scenario.demand, scenario.limits
    stored = loads.s3_terabytes(scenario.usage) * limits.s3_copies
    moved = demand.uploaded_megabytes + demand.downloaded_megabytes
    return [
        Need("disk", "TB", stored, limits.s3_terabytes * limits.memory_share),
        Need("throughput", "MB/s", moved, limits.s3_megabytes * limits.utilisation),
    ]


def _etcd_group(chat: ServerGroup, groups: Mapping[str, ServerGroup], limits: Limits) -> ServerGroup:
    """Return etcd, one group of members, which more members would only slow down."""
    servers = chat.count + sum(groups[kind].count for kind in ("presence", "notify", "media"))
    need = Need("renewals", "per s", loads.renewals(servers), limits.etcd_renewals * limits.utilisation)
    return ServerGroup("etcd", 1, int(limits.etcd_members), limits.etcd_cores, [need])

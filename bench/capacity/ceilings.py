"""The ceilings: limits that more servers of the same kind do not raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.capacity import loads
from bench.capacity.sizing import Scenario, ServerGroup

CHANGES_PER_RESTART = 2
"""The changes of the ring by a restart: a server leaves, and joins again."""
LEASE_READS_PER_SECOND = 2
"""The reads of all leases of chat servers by each presence server."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A limit of a deployment, its load at the peak in `unit`, and what raises it."""

    name: str
    unit: str
    load: float
    limit: float
    remedy: str

    @property
    def used(self) -> float:
        """The load as a share of the limit; above 1 the deployment does not work."""
        return self.load / self.limit if self.limit else float("inf")


def find_ceilings(scenario: Scenario, groups: Mapping[str, ServerGroup]) -> Sequence[Ceiling]:
    """Return the ceilings, the most used first."""
    found = [
        *_mesh_ceilings(scenario, groups["chat"].count),
        *_connection_ceilings(scenario, groups),
        *_etcd_ceilings(scenario, groups),
        *_key_ceilings(scenario, groups),
        Ceiling(
            "primaries of Redis",
            "servers",
            groups["Redis"].binding.servers,
            scenario.limits.redis_servers,
            "Redis Cluster",
        ),
    ]
    return sorted(found, key=lambda ceiling: ceiling.used, reverse=True)


def _mesh_ceilings(scenario: Scenario, servers: int) -> list[Ceiling]:
    return [
        Ceiling(
            "mesh streams of a chat server",
            "streams",
            servers - 1,
            scenario.limits.mesh_streams,
            "streams opened on demand",
        )
    ]


def _connection_ceilings(scenario: Scenario, groups: Mapping[str, ServerGroup]) -> list[Ceiling]:
    """Return the connections of the stores: every server connects to every shard of MongoDB and of Redis."""
    limits = scenario.limits
    with_redis = sum(groups[kind].count for kind in ("chat", "presence", "notify"))
    with_mongo = with_redis + groups["media"].count
    return [
        Ceiling(
            "connections of a Redis",
            "connections",
            with_redis * limits.redis_pool,
            limits.redis_connections * limits.memory_share,
            "a higher maxclients, or smaller pools",
        ),
        Ceiling(
            "connections of a MongoDB member",
            "connections",
            with_mongo * limits.mongod_pool,
            limits.mongod_connections * limits.memory_share,
            "smaller pools, or fewer mongos",
        ),
    ]


def _key_ceilings(scenario: Scenario, groups: Mapping[str, ServerGroup]) -> list[Ceiling]:
    """Return the keys that a whole deployment shares: one key is on one Redis."""
    costs, limit = scenario.costs, scenario.limits.utilisation * scenario.limits.redis_cores
    reads = groups["presence"].count * LEASE_READS_PER_SECOND * groups["chat"].count
    pushes = loads.Work(scenario.demand.pushes, costs.redis_push)
    leases = loads.Work(reads, costs.redis_lease)
    waiting = loads.waiting_pushes(scenario.usage, scenario.demand)
    return [
        Ceiling("queue of pushes", "cores of a Redis", pushes.cores, limit, "several queues"),
        Ceiling("pushes that wait", "events", waiting, scenario.limits.queue_events, "several queues, or a longer one"),
        Ceiling("leases of presence", "cores of a Redis", leases.cores, limit, "several hashes of leases"),
    ]


def _etcd_ceilings(scenario: Scenario, groups: Mapping[str, ServerGroup]) -> list[Ceiling]:
    """Return the load of etcd: renewals, and events while all servers are restarted in turn."""
    limits = scenario.limits
    counts = [groups[kind].count for kind in ("chat", "presence", "notify", "media")]
    # Every server watches the servers of its own kind, and the others watch chat.
    events = CHANGES_PER_RESTART * (counts[0] * sum(counts) + sum(count * count for count in counts[1:]))
    return [
        Ceiling(
            "leases of etcd",
            "renewals per s",
            loads.renewals(sum(counts)),
            limits.etcd_renewals * limits.utilisation,
            "longer leases",
        ),
        Ceiling(
            "watchers of etcd",
            "events per s",
            events / limits.rolling_seconds,
            limits.etcd_events * limits.utilisation,
            "a slower restart",
        ),
    ]

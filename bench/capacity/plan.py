"""The plan of a deployment: its demand, its servers, its ceilings, its storage and its price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.capacity import loads
from bench.capacity.ceilings import Ceiling, find_ceilings
from bench.capacity.costs import SourcedCosts
from bench.capacity.demand import DAY_S, Demand, compute_demand
from bench.capacity.limits import Limits
from bench.capacity.measured_costs import measured_receipts
from bench.capacity.sizing import Scenario, ServerGroup, list_events, size_servers
from bench.capacity.usage_model import UsageModel

DAYS_PER_YEAR = 365.0
HOURS_PER_MONTH = 730.0
DAYS_PER_MONTH = DAYS_PER_YEAR / 12


@dataclass(frozen=True, slots=True)
class Bill:
    """The price of a month by its parts, in the currency of the prices."""

    cores: float
    disks: float
    s3: float
    traffic: float

    @property
    def total(self) -> float:
        """The price of a month."""
        return self.cores + self.disks + self.s3 + self.traffic


@dataclass(frozen=True, slots=True)
class Plan:
    """A deployment for a usage model.

    `core_seconds` and `used_core_seconds` are per message: of all cores that are provided on a mean day, and of those
    that the peak uses, without etcd and S3. Traffic is at the peak, in both directions.
    """

    usage: UsageModel
    demand: Demand
    groups: Mapping[str, ServerGroup]
    events: Mapping[str, loads.Events]
    ceilings: Sequence[Ceiling]
    mesh_frames: float
    mongo_terabytes_per_year: float
    s3_terabytes_per_year: float
    stream_megabytes: float
    file_megabytes: float
    core_seconds: float
    used_core_seconds: float
    bill: Bill
    price_per_million: float
    core_price_per_million: float

    @property
    def cores(self) -> float:
        """The cores of all servers."""
        return sum(group.all_cores for group in self.groups.values())


def make_plan(usage: UsageModel, sourced: SourcedCosts, limits: Limits) -> Plan:
    """Return the plan of a deployment."""
    demand, costs = compute_demand(usage), sourced.costs
    scenario = Scenario(usage, demand, costs, limits, measured_receipts(sourced.result))
    groups = size_servers(scenario)
    cores = sum(group.all_cores for group in groups.values())
    mongo_per_year = loads.mongo_gigabytes_per_day(usage, costs) * DAYS_PER_YEAR * limits.mongod_members / 1000
    s3_per_year = loads.s3_terabytes(usage) / usage.media_days * DAYS_PER_YEAR if usage.media_days else 0.0
    streams = loads.stream_megabytes(usage, demand, costs)
    files = demand.uploaded_megabytes + demand.downloaded_megabytes
    bill = _compute_bill(scenario, cores, (streams + files) / usage.peak_factor)
    per_month = demand.messages_per_day * DAYS_PER_MONTH
    return Plan(
        usage=usage,
        demand=demand,
        groups=groups,
        events=list_events(scenario, groups["chat"].count),
        ceilings=find_ceilings(scenario, groups),
        mesh_frames=loads.mesh_frames(demand, groups["chat"].count),
        mongo_terabytes_per_year=mongo_per_year,
        s3_terabytes_per_year=s3_per_year,
        stream_megabytes=streams,
        file_megabytes=files,
        core_seconds=cores * DAY_S / demand.messages_per_day,
        used_core_seconds=_used_cores(groups, limits) / demand.messages,
        bill=bill,
        price_per_million=bill.total / per_month * 1e6,
        core_price_per_million=bill.cores / per_month * 1e6,
    )


def _used_cores(groups: Mapping[str, ServerGroup], limits: Limits) -> float:
    """Return the cores that the peak uses; every member of a MongoDB shard does what its primary does."""
    loads_by_kind = {kind: sum(n.load for n in group.needs if n.resource == "CPU") for kind, group in groups.items()}
    return sum(loads_by_kind.values()) + loads_by_kind["MongoDB shards"] * (limits.mongod_members - 1)


def _compute_bill(scenario: Scenario, cores: float, mean_megabytes: float) -> Bill:
    """Return the price of a month with full histories; `mean_megabytes` is the traffic of a mean second."""
    limits = scenario.limits
    disk = loads.mongo_gigabytes(scenario.usage, scenario.costs) * limits.mongod_members / limits.memory_share
    return Bill(
        cores=cores * HOURS_PER_MONTH * limits.core_hour_price,
        disks=disk * limits.disk_price,
        s3=loads.s3_terabytes(scenario.usage) * 1000 * limits.s3_price,
        traffic=mean_megabytes / 1000 * DAY_S * DAYS_PER_MONTH * limits.traffic_price,
    )

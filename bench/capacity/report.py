"""The text of a plan: demand, servers, CPU by event, ceilings, storage, network and price, and the sources of costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from textwrap import wrap

from bench.capacity import loads
from bench.capacity.assumption import parameters
from bench.capacity.ceilings import Ceiling
from bench.capacity.costs import Costs, CostSource, SourcedCosts
from bench.capacity.plan import Plan
from bench.capacity.sizing import ServerGroup
from bench.capacity.text_table import format_rows
from bench.table import format_number

WIDTH = 110
MEANINGS = {each.name: each for each in parameters(Costs)}


def format_plan(plan: Plan, sourced: SourcedCosts) -> list[str]:
    """Return the lines of a plan."""
    return [
        f"{plan.usage.daily_users:,.0f} daily users",
        "",
        *_format_demand(plan),
        "",
        *_format_servers(plan),
        "",
        *_format_ceilings(plan.ceilings),
        "",
        *_format_events(plan, sourced),
        "",
        *_format_storage(plan),
    ]


def format_sources(sourced: SourcedCosts) -> list[str]:
    """Return the lines that say which costs are measured, by which run, and which are not."""
    by_source = {source: [name for name in MEANINGS if sourced.source(name) is source] for source in CostSource}
    measured = by_source[CostSource.MEASURED]
    lines = [f"measured ({len(measured)} of {len(MEANINGS)} costs): {_describe_run(sourced)}"]
    if sourced.result:
        machine = ", ".join(f"{name} {value}" for name, value in sourced.result.machine.items())
        others = f"other programs used up to {sourced.result.cores_of_others:.1f} cores"
        lines += wrap(f"on {machine}; {others}", WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines.append(f"assumed ({len(by_source[CostSource.ASSUMED])}): no figure of that run; see docs/capacity.md")
    if given := by_source[CostSource.GIVEN]:
        lines.append(f"given by options ({len(given)}): {', '.join(given)}")
    return [*lines, "The behaviour of users, the sizes of servers, their limits and all prices are assumptions."]


def format_costs(sourced: SourcedCosts) -> list[str]:
    """Return the table of all costs with their sources."""
    rows = [
        (name, f"{format_number(getattr(sourced.costs, name))} {each.unit}".strip(), sourced.source(name).value)
        for name, each in MEANINGS.items()
    ]
    texts = [each.meaning for each in MEANINGS.values()]
    return format_rows(
        [("cost", "value", "source", ""), *((*row, text) for row, text in zip(rows, texts, strict=True))]
    )


def _describe_run(sourced: SourcedCosts) -> str:
    if (result := sourced.result) is None:
        return "no result of the benchmark"
    day = time.strftime("%Y-%m-%d", time.gmtime(result.taken))
    return f"make bench-quick of {day}, commit {result.commit}"


def _format_demand(plan: Plan) -> list[str]:
    demand = plan.demand
    rates = {
        "messages": demand.messages,
        "deliveries to devices": demand.frames,
        "receipts": demand.receipts,
        "heartbeats": demand.heartbeats,
        "streams opened": demand.connects,
        "tokens refreshed": demand.refreshes,
        "changes of presence": demand.changes,
        "presences told": demand.presence_deliveries,
        "pushes": demand.pushes,
        "files uploaded": demand.uploads,
        "files downloaded": demand.downloads,
        "mesh frames": plan.mesh_frames,
    }
    rows = [("  streams open", f"{demand.streams:,.0f}", "")]
    rows += [(f"  {name}", format_number(rate), "per s") for name, rate in rates.items()]
    return ["at the peak", *format_rows(rows)]


def _format_servers(plan: Plan) -> list[str]:
    rows = [("servers", "count", "machines", "cores", "decided by", "load", "one takes")]
    for group in plan.groups.values():
        need = group.binding
        rows.append(
            (
                f"  {group.kind}",
                f"{group.count:,}",
                f"{group.count * group.nodes:,}",
                f"{group.all_cores:,.0f}",
                need.resource,
                f"{format_number(need.load)} {need.unit}",
                f"{format_number(need.per_server)} {need.unit}",
            )
        )
    return format_rows([*rows, ("  in all", "", "", f"{plan.cores:,.0f}", "", "", "")], left={4})


def _format_ceilings(ceilings: Sequence[Ceiling]) -> list[str]:
    rows = [("ceilings that more servers do not raise", "load", "limit", "used", "")]
    rows += [
        (
            f"  {each.name}, {each.unit}",
            format_number(each.load),
            format_number(each.limit),
            f"{each.used:.0%}",
            f"EXCEEDED: needs {each.remedy}" if each.used > 1 else "",
        )
        for each in ceilings
    ]
    return format_rows(rows, left={4})


def _format_events(plan: Plan, sourced: SourcedCosts) -> list[str]:
    rows: list[tuple[str, ...]] = [("CPU at the peak", "per s", "µs each", "cores", "source")]
    for name, work in _list_work(plan):
        texts = (format_number(each) for each in (work.rate, work.microseconds, work.cores))
        rows.append((f"  {MEANINGS[name].meaning}", *texts, sourced.source(name).value))
    return [
        *format_rows(rows, left={4}),
        f"  {measured_cpu_share(plan, sourced):.0%} of these cores follow from measured costs.",
    ]


def measured_cpu_share(plan: Plan, sourced: SourcedCosts) -> float:
    """Return the share of the CPU at the peak that follows from measured costs; 0 if there is no CPU."""
    cores = [(sourced.source(name), work.cores) for name, work in _list_work(plan)]
    measured = sum(used for source, used in cores if source is CostSource.MEASURED)
    return measured / total if (total := sum(used for _, used in cores)) else 0.0


def _list_work(plan: Plan) -> list[tuple[str, loads.Work]]:
    """Return the work of all kinds of servers, each with the name of its cost."""
    return [pair for events in plan.events.values() for pair in events.items()]


def _format_storage(plan: Plan) -> list[str]:
    bill = plan.bill
    rows = [
        ("  MongoDB, all copies", f"{format_number(plan.mongo_terabytes_per_year)} TB per year of history"),
        ("  S3, without its copies", f"{format_number(plan.s3_terabytes_per_year)} TB per year of files"),
        ("  network, streams", f"{format_number(plan.stream_megabytes)} MB/s at the peak"),
        ("  network, files", f"{format_number(plan.file_megabytes)} MB/s at the peak"),
        ("  a message", f"{plan.used_core_seconds * 1000:.1f} ms of CPU at the peak, with all that users do besides"),
        ("", f"{plan.core_seconds:.2f} core-seconds of all cores that are provided"),
        (
            "  a month",
            f"{bill.total:,.0f}: cores {bill.cores:,.0f}, disks {bill.disks:,.0f}, S3 {bill.s3:,.0f}, "
            f"traffic {bill.traffic:,.0f}",
        ),
        (
            "  a million messages",
            f"{format_number(plan.price_per_million)}, of which cores {format_number(plan.core_price_per_million)}",
        ),
    ]
    return ["storage, network and price", *format_rows(rows, left={1})]


def format_sizes(plans: Sequence[Plan]) -> list[str]:
    """Return the table of several numbers of daily users: servers and what decides them, and how far ceilings are used.

    The ceilings come in the order of the last plan, the bottleneck first.
    """
    used = [{ceiling.name: f"{ceiling.used:.0%}" for ceiling in plan.ceilings} for plan in plans]
    return format_rows(
        [
            ("daily users", *(f"{plan.usage.daily_users:,.0f}" for plan in plans)),
            *((f"  {kind}", *(_format_count(plan.groups[kind]) for plan in plans)) for kind in plans[0].groups),
            ("  cores in all", *(f"{plan.cores:,.0f}" for plan in plans)),
            ("  messages per s", *(format_number(plan.demand.messages) for plan in plans)),
            ("  core-seconds a message", *(f"{plan.core_seconds:.2f}" for plan in plans)),
            ("  price of a million", *(format_number(plan.price_per_million) for plan in plans)),
            ("used of a ceiling", *("" for _ in plans)),
            *((f"  {each.name}", *(shares[each.name] for shares in used)) for each in plans[-1].ceilings),
            ("bottleneck", *(plan.ceilings[0].name for plan in plans)),
        ]
    )


def _format_count(group: ServerGroup) -> str:
    return f"{group.count:,} {group.binding.resource}"

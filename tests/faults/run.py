"""A run: users act, a nemesis strikes, and the promises are checked at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Final

from devstack.tracing import Tracing
from tests.faults.assessment import Deadlines, assess, find_leaks
from tests.faults.cluster import MEMBERS, Cluster
from tests.faults.nemesis import ALL_KINDS, Kind, Nemesis
from tests.faults.population import Population, open_population
from tests.faults.report import Report
from tools.otlp_receiver import OtlpReceiver

RATE: Final = 60.0
# Of messages and calls, so many that a canary would be among them.
TRACE_RATIO: Final = 0.05


async def run(
    folder: Path,
    seed: int,
    seconds: float,
    *,
    kinds: Sequence[Kind] = ALL_KINDS,
    rate: float = RATE,
    members: int = MEMBERS,
    strikes: int = 0,
    sabotage: str = "",
    files: bool = True,
    deadlines: Deadlines = Deadlines(),  # noqa: B008  it is frozen
    log_progress: Callable[[str], object] = lambda _: None,
) -> Report:
    """Send, exchange `files`, and strike for `seconds`, and longer until there were `strikes` faults."""
    random, report = Random(seed), Report(seed, seconds)
    log_progress("starting the stores, three chat servers, two of presence, media and notify, and Envoy")
    async with (
        _receive_traces() as receiver,
        Cluster(
            folder,
            members=members,
            sabotage=sabotage,
            files=files,
            tracing=Tracing(receiver.endpoint, TRACE_RATIO),
        ) as cluster,
        open_population(cluster, random, seed, rate, files=files) as population,
    ):
        nemesis = Nemesis(cluster, population.crowd.journal, random, kinds, log_progress)
        await _act_while_it_strikes(population, nemesis, seconds, strikes)
        log_progress("waiting until all is answered and delivered, and until files that nothing needs are gone")
        await assess(report, population, nemesis, deadlines)
        log_progress("searching logs, traces and metrics for content and secrets")
        await find_leaks(report, population, cluster, receiver)
        report.errors += cluster.complaints
    return report


@asynccontextmanager
async def _receive_traces() -> AsyncIterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


async def _act_while_it_strikes(population: Population, nemesis: Nemesis, seconds: float, strikes: int) -> None:
    struck, until = population.crowd.journal.struck, time.monotonic() + seconds

    def is_running() -> bool:
        return time.monotonic() < until or len(struck) < strikes

    async with asyncio.TaskGroup() as group:
        group.create_task(population.act(is_running))
        group.create_task(nemesis.inject_faults(seconds, strikes))

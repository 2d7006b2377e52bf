"""A run: a crowd sends, a nemesis strikes, and a judge checks the promises at the end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from devstack.tracing import Tracing
from tests.faults.canaries import Canaries, add_secrets, read_sources
from tests.faults.cluster import MEMBERS, Cluster
from tests.faults.crowd import Crowd
from tests.faults.files.album import PAUSE_S, Album
from tests.faults.files.judge import broken_file_promises, delayed_texts
from tests.faults.files.times import SETTLED_S
from tests.faults.journal import Journal, Line, Struck
from tests.faults.judge import Broken, broken_promises
from tests.faults.nemesis import ALL_KINDS, MEDIA_KINDS, Kind, Nemesis
from tests.faults.presence.judge import broken_presence_promises
from tests.faults.presence.onlookers import Onlookers
from tests.faults.push.audience import ARRIVED_S, Audience
from tests.faults.push.judge import broken_push_promises, last_arrival, promised_pushes
from tests.faults.sign_ups import SignUps
from tests.faults.talkers import TOKEN_S
from tests.raw.world import World
from tools.otlp_receiver import OtlpReceiver

RATE: Final = 60.0
ANSWERED_S: Final = 60.0
CONVERGED_S: Final = 30.0
# Of the sends made so long after the last fault was healed, and before the next one, this share is answered in time.
WELL_AFTER_S: Final = 10.0
WELL: Final = 0.95
IN_TIME_S: Final = 5.0
# Of messages and calls, so many that a canary would be among them.
TRACE_RATIO: Final = 0.05

Act = Callable[[Callable[[], bool]], Coroutine[None, None, None]]
"""Does something while its argument returns true."""


@dataclass(slots=True)
class Report:
    """The result of a run. A run with reasons in `inconclusive` proves nothing."""

    seed: int
    seconds: float
    acknowledged: int = 0
    entries: int = 0
    given: int = 0
    converged_s: float = 0.0
    # Acknowledged uploads, messages with files, and the seconds until what nothing needed was gone.
    uploads: int = 0
    references: int = 0
    downloads: int = 0
    settled_s: float = 0.0
    # What watchers were told of users, and the seconds until all knew the truth.
    presences: int = 0
    presence_s: float = 0.0
    # Recorded pushes, those that were promised, and the seconds until the last of these had arrived.
    pushes: int = 0
    promised_pushes: int = 0
    push_s: float = 0.0
    well: float = 0.0
    struck: dict[str, int] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    # Spans of traces, and where content or secrets were found in logs, traces and metrics.
    spans: int = 0
    leaks: list[str] = field(default_factory=list)
    # What users were told that they should not have been, and which parts ended by themselves.
    errors: list[str] = field(default_factory=list)
    inconclusive: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Return true if the run is conclusive and every promise was kept."""
        return not self.broken and not self.errors and not self.leaks and not self.inconclusive


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
    answered_s: float = ANSWERED_S,
    converged_s: float = CONVERGED_S,
    settled_s: float = SETTLED_S,
    arrived_s: float = ARRIVED_S,
    say: Callable[[str], object] = lambda _: None,
) -> Report:
    """Send, exchange `files`, and strike for `seconds`, and longer until there were `strikes` faults."""
    random, report = Random(seed), Report(seed, seconds)
    say("starting MongoDB, etcd, Valkey, SeaweedFS, three chat servers, two of presence, media and notify, and Envoy")
    async with (
        _receive_traces() as receiver,
        Cluster(
            folder,
            members=members,
            sabotage=sabotage,
            files=files,
            tracing=Tracing(receiver.endpoint, TRACE_RATIO),
        ) as cluster,
        World(cluster.stack, TOKEN_S) as world,
        Crowd(cluster, world, random, rate) as crowd,
        Onlookers(world, cluster.doors, crowd.devices, Random(seed)) as onlookers,
        Audience(world, cluster.doors, Random(seed)) as audience,
        AsyncExitStack() as open_,
    ):
        album = await open_.enter_async_context(Album(world, Random(seed))) if files else None
        uploaders = [partial(each.work, pause=PAUSE_S) for each in (album.uploaders if album is not None else ())]
        sign_ups = SignUps(world, Random(seed))
        nemesis = Nemesis(cluster, crowd.journal, random, kinds, say)
        until = time.monotonic() + seconds

        def going_on() -> bool:
            return time.monotonic() < until or len(crowd.journal.struck) < strikes

        async with asyncio.TaskGroup() as group:
            acts: list[Act] = [crowd.talk, onlookers.come_and_go, audience.take_part, sign_ups.work, *uploaders]
            for act in acts:
                group.create_task(act(going_on))
            group.create_task(nemesis.rage(seconds, strikes))
        ended_at = time.monotonic()
        await _judge_presence(report, crowd.journal.struck, onlookers)
        say("waiting for answers, and until all devices have everything")
        logs = await _settled(crowd, report, answered_s, converged_s)
        _sum_up(report, crowd, nemesis, cluster, logs)
        say("waiting until all promised pushes have arrived")
        await _judge_pushes(report, crowd.journal.struck, audience, ended_at, answered_s, arrived_s)
        if album is not None:
            say("waiting until files that nothing needs are gone")
            await _judge_files(report, crowd.journal, album, settled_s)
        say("searching logs, traces and metrics for content and secrets")
        report.errors += sign_ups.errors
        tokens = [*(device.token for device in world.devices), *sign_ups.tokens]
        await asyncio.to_thread(_find_leaks, report, cluster, receiver, tokens, list(audience.journal.tokens))
    return report


@asynccontextmanager
async def _receive_traces() -> AsyncIterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


def _find_leaks(
    report: Report, cluster: Cluster, receiver: OtlpReceiver, tokens: Sequence[str], push_tokens: Sequence[str]
) -> None:
    canaries = Canaries()
    add_secrets(canaries, cluster, tokens, push_tokens)
    report.spans = len(receiver.spans)
    report.leaks = canaries.find(read_sources(cluster, receiver.exports))


async def _settled(crowd: Crowd, report: Report, answered_s: float, converged_s: float) -> dict[str, list[Line]]:
    try:
        await crowd.wait_answered(answered_s)
    except AssertionError:
        report.inconclusive.append(f"{len(crowd.journal.unanswered)} sends were never answered")
    began, logs = time.monotonic(), await crowd.logs()
    while (lacking := crowd.count_missing(logs)) and time.monotonic() < began + converged_s:
        await asyncio.sleep(0.5)
        logs = await crowd.logs()
    report.converged_s = time.monotonic() - began
    if lacking:
        report.inconclusive.append(f"devices lack {lacking} entries after {converged_s:.0f} s")
    return logs


def _sum_up(report: Report, crowd: Crowd, nemesis: Nemesis, cluster: Cluster, logs: dict[str, list[Line]]) -> None:
    journal = crowd.journal
    report.acknowledged = journal.acknowledged
    report.entries = sum(len(log) for log in logs.values())
    report.given = len(journal.given)
    report.struck = dict(Counter(each.name for each in journal.struck))
    report.broken += broken_promises(journal, logs)
    report.well = answered_share(journal)
    report.inconclusive += [f"{name} struck {count} times" for name, count in nemesis.missing().items()]
    if report.well < WELL:
        report.inconclusive.append(f"only {report.well:.1%} of what was sent well after a fault was answered in time")
    told = [f"{talker.name}: {error}" for talker in crowd.talkers for error in talker.errors]
    report.errors = [*told, *crowd.errors, *cluster.complaints]


async def _judge_presence(report: Report, struck: Sequence[Struck], onlookers: Onlookers) -> None:
    report.presence_s = await onlookers.wait_converged()
    report.presences = len(onlookers.journal.told)
    report.broken += broken_presence_promises(onlookers.journal, struck)


async def _judge_pushes(
    report: Report,
    struck: Sequence[Struck],
    audience: Audience,
    ended_at: float,
    answered_s: float,
    arrived_s: float,
) -> None:
    try:
        await audience.wait_answered(answered_s)
    except AssertionError:
        report.inconclusive.append(f"{len(audience.journal.chat.unanswered)} sends to be pushed were never answered")
    logs = await audience.logs()
    await audience.wait_arrived(logs, struck, arrived_s)
    promises = promised_pushes(audience.journal, logs, struck)
    report.pushes = len(audience.journal.pushed)
    report.promised_pushes = len(promises)
    report.push_s = max(0.0, last_arrival(audience.journal, promises) - ended_at)
    report.broken += broken_push_promises(audience.journal, logs, struck)
    report.errors += audience.complaints


async def _judge_files(report: Report, journal: Journal, album: Album, settled_s: float) -> None:
    holdings, report.settled_s = await album.settle(settled_s)
    report.uploads = len(album.journal.files)
    report.references = len(album.journal.references)
    report.downloads = album.journal.downloads + len(holdings.downloads)
    report.broken += broken_file_promises(album.journal, holdings)
    report.broken += delayed_texts(journal, {kind.name for kind in MEDIA_KINDS})
    report.errors += album.errors


def answered_share(journal: Journal) -> float:
    """Return the share of sends outside of faults that were answered in time; 0 without such sends."""
    struck = journal.struck
    ends = [*(each.at for each in struck[1:]), float("inf")]
    peace = [(each.healed_at + WELL_AFTER_S, until - IN_TIME_S) for each, until in zip(struck, ends, strict=True)]
    sends = [send for send in journal.sends if any(first <= send.at < last for first, last in peace)]
    answered = [send for send in sends if send.answered_at is not None and send.answered_at - send.at <= IN_TIME_S]
    return len(answered) / len(sends) if sends else 0.0

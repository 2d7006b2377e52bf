"""The assessment of a run: once the load has ended, wait until the system has settled, and check the promises."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.canaries import Canaries, add_secrets, read_sources
from tests.faults.cluster import Cluster
from tests.faults.crowd import Crowd
from tests.faults.files.album import Album
from tests.faults.files.judge import broken_file_promises, delayed_texts
from tests.faults.files.times import SETTLED_S
from tests.faults.journal import Journal, Line, Struck
from tests.faults.judge import broken_promises
from tests.faults.nemesis import MEDIA_KINDS, Nemesis
from tests.faults.population import Population
from tests.faults.presence.judge import broken_presence_promises
from tests.faults.presence.onlookers import Onlookers
from tests.faults.push.audience import ARRIVED_S, Audience
from tests.faults.push.judge import broken_push_promises, last_arrival, promised_pushes
from tests.faults.report import Report
from tools.otlp_receiver import OtlpReceiver

# Of the sends made so long after the last fault was healed, and before the next one, this share is answered in time.
WELL_AFTER_S: Final = 10.0
WELL: Final = 0.95
IN_TIME_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The seconds after the end of the load within which the system settles.

    Every send is answered within `answered_s`, all devices have everything `converged_s` later, what no file needs is
    gone within `settled_s`, and all promised pushes have arrived within `arrived_s` after their sends were answered.
    """

    answered_s: float = 60.0
    converged_s: float = 30.0
    settled_s: float = SETTLED_S
    arrived_s: float = ARRIVED_S


async def assess(report: Report, population: Population, nemesis: Nemesis, deadlines: Deadlines) -> None:
    """Wait until the system has settled in every respect, at once, and report what it kept and broke."""
    crowd, ended_at = population.crowd, time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(_judge_chat(report, crowd, deadlines))
        group.create_task(_judge_presence(report, crowd.journal.struck, population.onlookers))
        group.create_task(_judge_pushes(report, crowd.journal.struck, population.audience, deadlines, ended_at))
        if population.album is not None:
            group.create_task(_judge_files(report, population.album, deadlines))
    report.struck = dict(Counter(each.name for each in crowd.journal.struck))
    report.inconclusive += [f"{name} struck {count} times" for name, count in nemesis.missing().items()]
    report.errors += population.sign_ups.errors


async def find_leaks(report: Report, population: Population, cluster: Cluster, receiver: OtlpReceiver) -> None:
    """Search logs, traces and metrics for content and secrets."""
    canaries = Canaries()
    add_secrets(canaries, cluster, population.tokens, population.push_tokens)
    report.spans = len(receiver.spans)
    report.leaks = await asyncio.to_thread(canaries.find, read_sources(cluster, receiver.exports))


async def _judge_chat(report: Report, crowd: Crowd, deadlines: Deadlines) -> None:
    logs, journal = await _read_converged_logs(report, crowd, deadlines), crowd.journal
    report.acknowledged = journal.acknowledged
    report.entries = sum(len(log) for log in logs.values())
    report.given = len(journal.given)
    report.broken += broken_promises(journal, logs)
    report.broken += delayed_texts(journal, {kind.name for kind in MEDIA_KINDS})
    report.well = answered_share(journal)
    if report.well < WELL:
        report.inconclusive.append(f"only {report.well:.1%} of what was sent well after a fault was answered in time")
    report.errors += [*crowd.errors, *(f"{each.name}: {error}" for each in crowd.talkers for error in each.errors)]


async def _read_converged_logs(report: Report, crowd: Crowd, deadlines: Deadlines) -> dict[str, list[Line]]:
    try:
        await crowd.wait_answered(deadlines.answered_s)
    except AssertionError:
        report.inconclusive.append(f"{len(crowd.journal.unanswered)} sends were never answered")
    began, logs = time.monotonic(), await crowd.logs()
    while (lacking := crowd.count_missing(logs)) and time.monotonic() < began + deadlines.converged_s:
        await asyncio.sleep(0.5)
        logs = await crowd.logs()
    report.converged_s = time.monotonic() - began
    if lacking:
        report.inconclusive.append(f"devices lack {lacking} entries after {deadlines.converged_s:.0f} s")
    return logs


async def _judge_presence(report: Report, struck: Sequence[Struck], onlookers: Onlookers) -> None:
    report.presence_s = await onlookers.wait_converged()
    report.presences = len(onlookers.journal.told)
    report.broken += broken_presence_promises(onlookers.journal, struck)


async def _judge_pushes(
    report: Report, struck: Sequence[Struck], audience: Audience, deadlines: Deadlines, ended_at: float
) -> None:
    try:
        await audience.wait_answered(deadlines.answered_s)
    except AssertionError:
        report.inconclusive.append(f"{len(audience.journal.chat.unanswered)} sends to be pushed were never answered")
    logs = await audience.logs()
    await audience.wait_arrived(logs, struck, deadlines.arrived_s)
    promises = promised_pushes(audience.journal, logs, struck)
    report.pushes = len(audience.journal.pushed)
    report.promised_pushes = len(promises)
    report.push_s = max(0.0, last_arrival(audience.journal, promises) - ended_at)
    report.broken += broken_push_promises(audience.journal, logs, struck)
    report.errors += audience.complaints


async def _judge_files(report: Report, album: Album, deadlines: Deadlines) -> None:
    holdings, report.settled_s = await album.settle(deadlines.settled_s)
    report.uploads = len(album.journal.files)
    report.references = len(album.journal.references)
    report.downloads = album.journal.downloads + len(holdings.downloads)
    report.broken += broken_file_promises(album.journal, holdings)
    report.errors += album.errors


def answered_share(journal: Journal) -> float:
    """Return the share of sends outside of faults that were answered in time; 0 without such sends."""
    struck = journal.struck
    ends = [*(each.at for each in struck), float("inf")][1:]
    peace = [(each.healed_at + WELL_AFTER_S, until - IN_TIME_S) for each, until in zip(struck, ends, strict=True)]
    sends = [send for send in journal.sends if any(first <= send.at < last for first, last in peace)]
    answered = [send for send in sends if send.answered_at is not None and send.answered_at - send.at <= IN_TIME_S]
    return len(answered) / len(sends) if sends else 0.0

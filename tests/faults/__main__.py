"""`python -m tests.faults`: inject random faults for some minutes and check the promises."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from random import randrange
from typing import Annotated, Final

import structlog
import typer
from rich.console import Console
from rich.table import Table

from tests.faults.nemesis import ALL_KINDS, AT_LEAST, Kind
from tests.faults.report import Report
from tests.faults.run import run

# One fault and what follows it, on average.
CYCLE_S: Final = 15.0

Minutes = Annotated[float, typer.Option(help="Duration of the run.", min=0.5)]
Seed = Annotated[int | None, typer.Option(help="Seed of the random choices; random if unset.")]
Only = Annotated[
    list[str] | None, typer.Option(help="Only kinds of faults with this in their names, or of this topic: push.")
]
All = Annotated[
    bool, typer.Option("--all", help="Use every kind of fault, even if the run is too short to be conclusive.")
]
Keep = Annotated[Path | None, typer.Option(help="Keep data and logs in this new or empty folder.")]
Result = Annotated[Path | None, typer.Option(help="Write the result to this file as JSON.")]

console = Console()
app = typer.Typer(add_completion=False)


@app.command()
def main(
    minutes: Minutes = 5.0,
    seed: Seed = None,
    only: Only = None,
    everything: All = False,
    keep: Keep = None,
    result: Result = None,
) -> None:
    """Inject faults into a new system for some minutes while users send; then check the promises.

    Below 25 minutes not every kind of fault can strike three times; the seed then selects some kinds.
    """
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise typer.BadParameter(f"{keep} is not empty")
    number = randrange(10**6) if seed is None else seed
    kinds = _chosen(only, float("inf") if everything else minutes * 60, number)
    begun = time.monotonic()

    def log_progress(what: str) -> None:
        console.print(f"[dim]{time.monotonic() - begun:7.1f} s[/]  {what}")

    # The crowd's own connections would tell of every strike between the lines that do.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    log_progress(f"seed {number}, {minutes:g} minutes, {len(kinds)} kinds of faults")
    with tempfile.TemporaryDirectory(prefix="parley-faults-") as folder:
        report = asyncio.run(run(keep or Path(folder), number, minutes * 60, kinds=kinds, log_progress=log_progress))
    _show(report)
    if result is not None:
        result.write_text(json.dumps(asdict(report), indent=2) + "\n")
    raise typer.Exit(not report.passed)


def _chosen(only: list[str] | None, seconds: float, seed: int) -> list[Kind]:
    kinds = [kind for kind in ALL_KINDS if not only or any(each in kind.name or each == kind.topic for each in only)]
    if not kinds:
        raise typer.BadParameter(f"no kind of fault is called so; there are {', '.join(k.name for k in ALL_KINDS)}")
    room = max(1, int(min(seconds / CYCLE_S / AT_LEAST, len(kinds))))
    start = seed % len(kinds)
    return (kinds[start:] + kinds[:start])[:room]


def _show(report: Report) -> None:
    table = Table("fault", "struck")
    for name, count in sorted(report.struck.items()):
        table.add_row(name, str(count))
    console.print(table)
    console.print(
        f"{report.acknowledged:,} messages acknowledged, {report.entries:,} entries in logs, {report.given:,} given"
        f" to devices; all had everything {report.converged_s:.1f} s after the end; {report.well:.1%} of what was sent"
        " well after a fault was answered within 5 s"
    )
    console.print(
        f"{report.uploads:,} uploads acknowledged, {report.references:,} messages with files, {report.downloads:,}"
        f" downloads compared; {report.settled_s:.1f} s after the end nothing was left that nothing needed"
    )
    console.print(
        f"{report.presences:,} times watchers were told of a user; {report.presence_s:.1f} s after the end all knew who"
        " is there"
    )
    console.print(
        f"{report.pushes:,} pushes recorded and checked, {report.promised_pushes:,} pushes promised; the last of these"
        f" had arrived {report.push_s:.1f} s after the end"
    )
    console.print(f"{report.spans:,} spans recorded; {len(report.leaks)} canaries found in logs, traces and metrics")
    for leak in report.leaks[:20]:
        console.print(f"[red]LEAK[/] {leak}", highlight=False)
    for each in report.broken[:20]:
        console.print(f"[red]BROKEN[/] {each}", highlight=False)
    for error in report.errors[:20]:
        console.print(f"[red]error:[/] {error}", highlight=False)
    for reason in report.inconclusive[:20]:
        console.print(f"[yellow]inconclusive:[/] {reason}", highlight=False)
    console.print("Every promise was kept." if report.passed else f"Not shown. Again: --seed {report.seed}")


app()

"""`demo`: the play, with a tick for every promise it saw kept."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from parley_client.channel import Tls
from parley_client.cli import options
from parley_client.cli.command import err, out, run_command, print_line, print_json
from parley_client.cli.options import DOOR, DoorOption, TlsOption, JsonOption, CaOption
from parley_client.demo import Report, run_demo

app = typer.Typer()


@app.command()
def demo(
    door: DoorOption = DOOR,
    sends: Annotated[int, typer.Option(min=0, help="How many sends to time on the idle system.")] = 200,
    patience: Annotated[float, typer.Option(min=1.0, help="How long anything may take, in seconds.")] = 10.0,
    repair: Annotated[
        bool, typer.Option(help="Without it devices leave gaps as they are, which shows what is lost on the way.")
    ] = True,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Play a conversation of several people and devices, and check every promise on the way.

    Makes a few accounts with fresh names. Ends with 0 if every promise was kept, else with 1 and their names.
    """
    run_command(_run_scenario(door, sends, patience, repair, as_json, options.tls_config(tls, ca)), door)


async def _run_scenario(door: str, sends: int, patience: float, repair: bool, as_json: bool, tls: Tls | None) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("making accounts", total=None)

        def tell(scene: str, done: int, total: int) -> None:
            progress.update(bar, description=scene, completed=done, total=total)

        report = await run_demo(door, repair=repair, patience=patience, sends=sends, tls=tls, tell=tell)
    _print_report_json(report) if as_json else _print_report(report)
    if not report.ok:
        raise typer.Exit(1)


def _print_report(report: Report) -> None:
    for verdict in report.verdicts:
        tick, style = ("✓", "green") if verdict.kept else ("✗", "red")
        print_line(f"{tick} {verdict.promise:<9}{verdict.claim}", style=style)
        if verdict.detail:
            print_line(f"            {verdict.detail}", style="red")
    for each in report.skipped:
        print_line(f"– {each}: not checked, this version does not serve it yet", style="yellow")
    if report.latencies:
        median, late = report.latency(0.5) * 1000, report.latency(0.99) * 1000
        how = f"{len(report.latencies)} sends through the door to another device"
        print_line(f"{how}: median {median:.1f} ms, p99 {late:.1f} ms")
    if report.ok:
        out.print("Every promise was kept.", style="bold green")
    else:
        err.print(f"Broken: {', '.join(report.broken)}.", style="bold red")


def _print_report_json(report: Report) -> None:
    print_json(
        {
            "ok": report.ok,
            "broken": report.broken,
            "skipped": report.skipped,
            "verdicts": [
                {"promise": each.promise, "claim": each.claim, "kept": each.kept, "detail": each.detail}
                for each in report.verdicts
            ],
            "sends": len(report.latencies),
            "median_ms": round(report.latency(0.5) * 1000, 3) if report.latencies else None,
            "p99_ms": round(report.latency(0.99) * 1000, 3) if report.latencies else None,
        }
    )

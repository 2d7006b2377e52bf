"""The command `demo`: it runs the demo scenario and prints a verdict for each promise."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from parley_client.cli import options
from parley_client.cli.command import err, out, print_json, print_line, run_command
from parley_client.cli.options import DOOR, CaOption, DoorOption, JsonOption, TlsOption
from parley_client.cli.text import one_cell
from parley_client.demo import Report, run_demo
from parley_client.door import DEFAULT_DOOR, Tls

app = typer.Typer()


@app.command()
def demo(
    door: DoorOption = DOOR,
    sends: Annotated[int, typer.Option(min=0, help="Number of sends to time on the idle system.")] = 200,
    patience: Annotated[float, typer.Option(min=1.0, help="Timeout of every step, in seconds.")] = 10.0,
    repair: Annotated[
        bool, typer.Option(help="Fetch missing entries. --no-repair leaves gaps open and so shows lost frames.")
    ] = True,
    as_json: JsonOption = False,
    tls: TlsOption = False,
    ca: CaOption = None,
) -> None:
    """Run a conversation of several users and devices, and check every promise.

    Creates a few accounts with new names. Exits with 1, and names the broken promises, unless all were kept.
    """
    run_command(_run_scenario(door, sends, patience, repair, as_json, options.tls_config(tls, ca)), door)


async def _run_scenario(door: str, sends: int, patience: float, repair: bool, as_json: bool, tls: Tls | None) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("creating accounts", total=None)

        def show_progress(check: str, done: int, total: int) -> None:
            progress.update(bar, description=check, completed=done, total=total)

        report = await run_demo(
            door or DEFAULT_DOOR, repair=repair, timeout_s=patience, sends=sends, tls=tls, on_progress=show_progress
        )
    _print_report_json(report) if as_json else _print_report(report)
    if not report.ok:
        raise typer.Exit(1)


def _print_report(report: Report) -> None:
    for verdict in report.verdicts:
        tick, style = ("✓", "green") if verdict.kept else ("✗", "red")
        print_line(f"{tick} {verdict.promise:<9}{verdict.claim}", style=style)
        if verdict.detail:
            print_line(f"            {one_cell(verdict.detail)}", style="red")
    for check in report.skipped:
        print_line(f"– {check}: not checked, because this version does not serve it yet", style="yellow")
    if report.latencies:
        median, p99 = report.latency(0.5) * 1000, report.latency(0.99) * 1000
        sends = f"{len(report.latencies)} sends through Envoy to another device"
        print_line(f"{sends}: median {median:.1f} ms, p99 {p99:.1f} ms")
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
                {
                    "promise": verdict.promise,
                    "claim": verdict.claim,
                    "kept": verdict.kept,
                    "detail": verdict.detail,
                }
                for verdict in report.verdicts
            ],
            "sends": len(report.latencies),
            "median_ms": round(report.latency(0.5) * 1000, 3) if report.latencies else None,
            "p99_ms": round(report.latency(0.99) * 1000, 3) if report.latencies else None,
        }
    )

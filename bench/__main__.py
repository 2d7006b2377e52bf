"""The command line of `make bench-quick`."""

from __future__ import annotations

import resource
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from bench import results
from bench.environment import BenchEnvironment
from bench.figures import Figure
from bench.machine import describe_machine, measure_pace_ms
from bench.measurement import Measurement
from bench.profile import format_profile, hottest_functions
from bench.sizes import CROWD, QUICK, TINY, Sizes
from bench.table import format_notes, format_table
from bench.workloads import MEDIA_WORKLOADS, WORKLOADS
from devstack.display import Display, create_display
from devstack.errors import SetupError

# The files that a process has open in addition to the connections of devices.
OTHER_FILES: Final = 500
PROFILE_ROWS: Final = 25

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    workload: Annotated[
        list[str] | None, typer.Option(help=f"Run only this one; may be repeated: {', '.join(WORKLOADS)}.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Add the result to the git index.")] = False,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Profile a server in one workload, by default durable; nothing is written."),
    ] = False,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Run each workload for a second as a smoke test; nothing is written.")
    ] = False,
    crowd: Annotated[
        bool,
        typer.Option(
            "--crowd", help="Use 10,000 users in presence, and 10,000 pushes, in minutes more; nothing is written."
        ),
    ] = False,
    server: Annotated[str | None, typer.Option(help="The server to profile, such as chat-1.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Write the result to this folder, also with --tiny.")] = None,
) -> None:
    """Measure a new system on this machine, and compare with an earlier commit; takes under five minutes."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    chosen = workload or (["durable"] if profile else list(WORKLOADS))
    if unknown := set(chosen) - WORKLOADS.keys():
        sys.exit(f"Unknown workload {min(unknown)}; choose from {', '.join(WORKLOADS)}.")
    display = create_display()
    try:
        sizes = TINY if tiny else CROWD if crowd else QUICK
        if profile:
            _profile(chosen, sizes, server or _default_server(chosen), display)
            return
        complete = sizes is QUICK and len(chosen) == len(WORKLOADS)
        _measure(chosen, sizes, folder or (results.FOLDER if complete else None), keep, display)
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        display.print_text("Stopped; nothing was written.")
        sys.exit(130)


def _measure(chosen: list[str], sizes: Sizes, folder: Path | None, keep: bool, display: Display) -> None:
    commit, machine, pace_before = results.current_commit(), describe_machine(), measure_pace_ms()
    baseline = results.latest_comparable(commit, sizes, folder or results.FOLDER)
    figures, other_cores = _run_workloads(chosen, sizes, display)
    pace = (pace_before + measure_pace_ms()) / 2
    result = results.Result(commit, time.time(), machine, sizes, other_cores, pace, figures)
    display.print_text("\n".join(("", *format_table(result, baseline), "", *format_notes(result, baseline))))
    if folder is None:
        return
    path = results.write_result(result, folder)
    display.print_text(f"Written to {path}.")
    if keep:
        results.stage_result(path)


def _default_server(chosen: list[str]) -> str:
    return "media-1" if set(chosen) <= MEDIA_WORKLOADS.keys() else "chat-1"


def _profile(chosen: list[str], sizes: Sizes, server: str, display: Display) -> None:
    with tempfile.TemporaryDirectory(prefix="parley-profile-") as folder:
        file = Path(folder, server)
        _run_workloads(chosen, sizes, display, file)
        display.print_text("\n".join(("", *format_profile(hottest_functions(file, PROFILE_ROWS)))))


def _run_workloads(
    chosen: list[str], sizes: Sizes, display: Display, profile: Path | None = None
) -> tuple[list[Figure], float]:
    """Return the figures of the workloads, and the cores that other programs used. Keep the logs if it fails."""
    _raise_file_limit(max(sizes.idle * sizes.repeats, sizes.present) + OTHER_FILES)
    folder = Path(tempfile.mkdtemp(prefix="parley-bench-"))
    try:
        with BenchEnvironment(folder, profile) as environment:
            with display:
                environment.start(display)
            measurement = Measurement(environment, sizes, display.print_text)
            figures = [figure for name in WORKLOADS if name in chosen for figure in WORKLOADS[name](measurement)]
            display.print_text("Stopping.")
    except SetupError as error:
        raise SetupError(f"{error}\nThe logs are in {folder / 'logs'}.") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    return figures, measurement.cores_of_others


def _raise_file_limit(files: int) -> None:
    """Raise the limit of open files for this process and its children. Raise SetupError if the hard limit is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise SetupError(f"A process may have {hard} open files here, and {files} are needed: ulimit -n {files}")
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


if __name__ == "__main__":
    app()

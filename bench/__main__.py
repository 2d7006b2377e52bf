"""The command behind `make bench-quick`."""

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
from bench.profile import hottest_functions, format_profile
from bench.sizes import QUICK, TINY, Sizes
from bench.table import format_notes, format_table
from bench.workloads import WORKLOADS
from devstack.display import Display, create_display
from devstack.errors import SetupError

# Files that a process has open beside the connections of devices.
OTHER_FILES: Final = 500
PROFILE_ROWS: Final = 10

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    scene: Annotated[
        list[str] | None, typer.Option(help=f"Only this one; several may be named: {', '.join(WORKLOADS)}.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Have the next commit carry the result (git add).")] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Profile a chat server in the durable scene; nothing is written.")
    ] = False,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="A second a scene, to see that all works; nothing is written.")
    ] = False,
    folder: Annotated[Path | None, typer.Option(help="Write the result there, a tiny one too.")] = None,
) -> None:
    """Measure a system of its own on this machine, and compare with an earlier commit; under three minutes."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    chosen = ["durable"] if profile else scene or list(WORKLOADS)
    if unknown := set(chosen) - WORKLOADS.keys():
        sys.exit(f"There is no scene called {min(unknown)}; there are {', '.join(WORKLOADS)}.")
    told = create_display()
    try:
        if profile:
            _profile(TINY if tiny else QUICK, told)
            return
        whole = not tiny and len(chosen) == len(WORKLOADS)
        _measure(chosen, TINY if tiny else QUICK, folder or (results.FOLDER if whole else None), keep, told)
    except SetupError as trouble:
        sys.exit(str(trouble))
    except KeyboardInterrupt:
        told.print_text("Stopped; nothing was written.")
        sys.exit(130)


def _measure(chosen: list[str], sizes: Sizes, folder: Path | None, keep: bool, told: Display) -> None:
    commit, here, pace_before = results.current_commit(), describe_machine(), measure_pace_ms()
    before = results.latest_comparable(commit, sizes, folder or results.FOLDER)
    figures, others = _run_workloads(chosen, sizes, told)
    result = results.Result(commit, time.time(), here, sizes, others, (pace_before + measure_pace_ms()) / 2, figures)
    told.print_text("\n".join(("", *format_table(result, before), "", *format_notes(result, before))))
    if folder is None:
        return
    path = results.write_result(result, folder)
    told.print_text(f"Written to {path}.")
    if keep:
        results.stage_result(path)


def _profile(sizes: Sizes, told: Display) -> None:
    with tempfile.TemporaryDirectory(prefix="parley-profile-") as kept:
        file = Path(kept, "chat-1")
        _run_workloads(["durable"], sizes, told, file)
        told.print_text("\n".join(("", *format_profile(hottest_functions(file, PROFILE_ROWS)))))


def _run_workloads(
    chosen: list[str], sizes: Sizes, told: Display, profile: Path | None = None
) -> tuple[list[Figure], float]:
    """The figures of scenes, and the cores that others used. Logs stay when something went wrong."""
    _raise_file_limit(sizes.idle * sizes.repeats + OTHER_FILES)
    folder = Path(tempfile.mkdtemp(prefix="parley-bench-"))
    try:
        with BenchEnvironment(folder, profile) as grounds:
            with told:
                grounds.start(told)
            measuring = Measurement(grounds, sizes, told.print_text)
            figures = [figure for name in WORKLOADS if name in chosen for figure in WORKLOADS[name](measuring)]
            told.print_text("Stopping.")
    except SetupError as trouble:
        raise SetupError(f"{trouble}\nThe logs are in {folder / 'logs'}.") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    return figures, measuring.cores_of_others


def _raise_file_limit(files: int) -> None:
    """Let our children have so many files open. Raises Trouble."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise SetupError(f"A process may have {hard} open files here, and {files} are needed: ulimit -n {files}")
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


if __name__ == "__main__":
    app()

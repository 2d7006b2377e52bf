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
from bench.environment import Grounds
from bench.figures import Figure
from bench.machine import machine, pace
from bench.measurement import Measuring
from bench.profile import hottest, profile_table
from bench.sizes import QUICK, TINY, Sizes
from bench.table import notes, table
from bench.workloads import SCENES
from devstack.display import Screen, screen
from devstack.errors import Trouble

# Files that a process has open beside the connections of devices.
OTHER_FILES: Final = 500
HOTTEST: Final = 10

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def bench(
    scene: Annotated[
        list[str] | None, typer.Option(help=f"Only this one; several may be named: {', '.join(SCENES)}.")
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
    chosen = ["durable"] if profile else scene or list(SCENES)
    if unknown := set(chosen) - SCENES.keys():
        sys.exit(f"There is no scene called {min(unknown)}; there are {', '.join(SCENES)}.")
    told = screen()
    try:
        if profile:
            _profile(TINY if tiny else QUICK, told)
            return
        whole = not tiny and len(chosen) == len(SCENES)
        _measure(chosen, TINY if tiny else QUICK, folder or (results.FOLDER if whole else None), keep, told)
    except Trouble as trouble:
        sys.exit(str(trouble))
    except KeyboardInterrupt:
        told.say("Stopped; nothing was written.")
        sys.exit(130)


def _measure(chosen: list[str], sizes: Sizes, folder: Path | None, keep: bool, told: Screen) -> None:
    commit, here, pace_before = results.commit_here(), machine(), pace()
    before = results.earlier(commit, sizes, folder or results.FOLDER)
    figures, others = _play(chosen, sizes, told)
    result = results.Result(commit, time.time(), here, sizes, others, (pace_before + pace()) / 2, figures)
    told.say("\n".join(("", *table(result, before), "", *notes(result, before))))
    if folder is None:
        return
    path = results.keep(result, folder)
    told.say(f"Written to {path}.")
    if keep:
        results.put_under_version_control(path)


def _profile(sizes: Sizes, told: Screen) -> None:
    with tempfile.TemporaryDirectory(prefix="parley-profile-") as kept:
        file = Path(kept, "chat-1")
        _play(["durable"], sizes, told, file)
        told.say("\n".join(("", *profile_table(hottest(file, HOTTEST)))))


def _play(chosen: list[str], sizes: Sizes, told: Screen, profile: Path | None = None) -> tuple[list[Figure], float]:
    """The figures of scenes, and the cores that others used. Logs stay when something went wrong."""
    _open_enough(sizes.idle * sizes.repeats + OTHER_FILES)
    folder = Path(tempfile.mkdtemp(prefix="parley-bench-"))
    try:
        with Grounds(folder, profile) as grounds:
            with told:
                grounds.start(told)
            measuring = Measuring(grounds, sizes, told.say)
            figures = [figure for name in SCENES if name in chosen for figure in SCENES[name](measuring)]
            told.say("Stopping.")
    except Trouble as trouble:
        raise Trouble(f"{trouble}\nThe logs are in {folder / 'logs'}.") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)
    return figures, measuring.cores_of_others


def _open_enough(files: int) -> None:
    """Let our children have so many files open. Raises Trouble."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise Trouble(f"A process may have {hard} open files here, and {files} are needed: ulimit -n {files}")
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


if __name__ == "__main__":
    app()

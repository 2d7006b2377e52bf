"""`make run`: a whole stack from start to stop, under the eyes and the signals of a person."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType

from devstack.display import Display
from devstack.errors import PortTaken, StopRequested, SetupError
from devstack.ports import Ports
from devstack.stack import Stack
from devstack.startup_summary import startup_summary
from devstack.supervisor import Supervisor

_CHECK_INTERVAL_S = 0.2
_START_TIMEOUT_S = 60.0


class StopSignals:
    """What the person asked for by signals: `stop`, and `hurry` when they asked again."""

    def __init__(self) -> None:
        self.stop_requested = Event()
        self.kill_requested = Event()

    def _handle_signal(self, _number: int, _frame: FrameType | None) -> None:
        (self.kill_requested if self.stop_requested.is_set() else self.stop_requested).set()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP (the terminal closed) are wishes meanwhile, and interrupt nothing."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._handle_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def launch(folder: Path, ports: Ports, chat_servers: int, environment: dict[str, str], display: Display) -> None:
    """Runs a stack until it is asked to stop. Raises Trouble when it cannot, with nothing left running."""
    signals, new = StopSignals(), not folder.exists()
    with signals.installed(), lock_folder(folder):
        _rotate_logs(folder / "logs")
        stack = Stack(folder, chat_servers, ports=ports, environment=environment)
        try:
            _start(stack, signals, display)
            _supervise(stack, signals, display)
        except StopRequested:
            pass
        except PortTaken as taken:
            # Nothing was started: no secrets stay behind that nobody needs.
            if new:
                shutil.rmtree(folder)
            raise SetupError(f'{taken} Choose others: make run ARGS="--port 9080 --base-port 5300"') from None
        finally:
            # A start that was refused has nothing to stop.
            if any(part.running for part in stack.processes.values()):
                display.print_text("Stopping; once more to kill what is slow.")
            stack.stop(signals.kill_requested)
        display.print_text("Everything is stopped.")


def _start(stack: Stack, signals: StopSignals, display: Display) -> None:
    with display:
        stack.start_processes(_START_TIMEOUT_S, signals.stop_requested, display)
    display.print_text(startup_summary(stack))


def _supervise(stack: Stack, signals: StopSignals, display: Display) -> None:
    supervision = Supervisor(display.print_text)
    while not signals.stop_requested.wait(_CHECK_INTERVAL_S):
        supervision.check(stack.processes.values())


def _rotate_logs(folder: Path) -> None:
    """The logs of the run before stay, as `.log.1`; older ones go."""
    for log in folder.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Holds `folder` for this process. Raises Trouble when another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise SetupError(
                f"A stack already runs on {folder} (process {file.read().strip()}). Stop that one first, or start "
                'another beside it: make run ARGS="--folder .parley2 --port 9080 --base-port 5300"'
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield

"""`make run`: a stack from start to stop, supervised, and stopped by signals."""

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
from devstack.errors import PortInUse, SetupError, StopRequested
from devstack.log_rotation import rotate_large_logs, rotate_logs
from devstack.ports import Ports
from devstack.stack import Stack
from devstack.startup_summary import startup_summary
from devstack.supervisor import Supervisor
from devstack.tracing import Tracing

_CHECK_INTERVAL_S = 0.2
_START_TIMEOUT_S = 60.0


class StopSignals:
    """Handlers of stop signals: the first signal sets `stop_requested`, the second one `kill_requested`."""

    def __init__(self) -> None:
        self.stop_requested = Event()
        self.kill_requested = Event()

    def _handle_signal(self, _number: int, _frame: FrameType | None) -> None:
        (self.kill_requested if self.stop_requested.is_set() else self.stop_requested).set()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGINT, SIGTERM and SIGHUP (the terminal closed) within the block; none interrupts it."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, self._handle_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def launch(
    folder: Path,
    ports: Ports,
    chat_servers: int,
    environment: dict[str, str],
    display: Display,
    *,
    tls: bool = False,
    tracing: Tracing | None = None,
) -> None:
    """Run a stack until a stop signal. Raise SetupError if it cannot run; then no process is left running."""
    signals, is_new = StopSignals(), not folder.exists()
    with signals.installed(), lock_folder(folder):
        rotate_logs(folder / "logs")
        stack = Stack(folder, chat_servers, ports=ports, tracing=tracing, environment=environment, tls=tls)
        try:
            _start(stack, signals, display)
            _supervise(stack, signals, display)
        except StopRequested:
            pass
        except PortInUse as in_use:
            # Nothing was started, so the new folder and its secrets are of no use.
            if is_new:
                shutil.rmtree(folder)
            raise SetupError(
                f'{in_use} Choose others: make run ARGS="--port 9080 --media-port 9090 --base-port 5300"'
            ) from None
        finally:
            # A start that failed on a port in use has nothing to stop.
            if any(process.running for process in stack.processes.values()):
                display.print_text("Stopping; press Ctrl-C again to kill slow processes.")
            stack.stop(signals.kill_requested)
        display.print_text("Everything is stopped.")


def _start(stack: Stack, signals: StopSignals, display: Display) -> None:
    with display:
        stack.start_processes(_START_TIMEOUT_S, signals.stop_requested, display)
    display.print_text(startup_summary(stack))


def _supervise(stack: Stack, signals: StopSignals, display: Display) -> None:
    supervisor = Supervisor(display.print_text)
    while not signals.stop_requested.wait(_CHECK_INTERVAL_S):
        supervisor.check(stack.processes.values())
        rotate_large_logs(stack.layout.folder / "logs")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock `folder` for this process within the block. Raise SetupError if it cannot be used or is locked.

    The kernel releases the lock when the process ends for any reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a+")
    except OSError as error:
        raise SetupError(
            f'Cannot use the folder {folder}: {error.strerror}. Name another one: make run ARGS="--folder .parley2"'
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise SetupError(
                f"A stack already runs on {folder} (process {file.read().strip()}). Stop that one first, or start "
                'another one: make run ARGS="--folder .parley2 --port 9080 --media-port 9090 --base-port 5300"'
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield

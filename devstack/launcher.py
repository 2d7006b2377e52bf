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

from devstack.display import Screen
from devstack.errors import PortTaken, Stopped, Trouble
from devstack.ports import Ports
from devstack.stack import Stack
from devstack.startup_summary import guide
from devstack.supervisor import Supervision

_LOOK_EVERY = 0.2
_START_TIMEOUT = 60.0


class Wishes:
    """What the person asked for by signals: `stop`, and `hurry` when they asked again."""

    def __init__(self) -> None:
        self.stop = Event()
        self.hurry = Event()

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP (the terminal closed) are wishes meanwhile, and interrupt nothing."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._hear) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def launch(folder: Path, ports: Ports, chat_servers: int, environment: dict[str, str], screen: Screen) -> None:
    """Runs a stack until it is asked to stop. Raises Trouble when it cannot, with nothing left running."""
    wishes, new = Wishes(), not folder.exists()
    with wishes.heard(), folder_lock(folder):
        _keep_last_logs(folder / "logs")
        stack = Stack(folder, chat_servers, ports=ports, environment=environment)
        try:
            _start(stack, wishes, screen)
            _look_after(stack, wishes, screen)
        except Stopped:
            pass
        except PortTaken as taken:
            # Nothing was started: no secrets stay behind that nobody needs.
            if new:
                shutil.rmtree(folder)
            raise Trouble(f'{taken} Choose others: make run ARGS="--port 9080 --base-port 5300"') from None
        finally:
            # A start that was refused has nothing to stop.
            if any(part.running for part in stack.parts.values()):
                screen.say("Stopping; once more to kill what is slow.")
            stack.stop(wishes.hurry)
        screen.say("Everything is stopped.")


def _start(stack: Stack, wishes: Wishes, screen: Screen) -> None:
    with screen:
        stack.bring_up(_START_TIMEOUT, wishes.stop, screen)
    screen.say(guide(stack))


def _look_after(stack: Stack, wishes: Wishes, screen: Screen) -> None:
    supervision = Supervision(screen.say)
    while not wishes.stop.wait(_LOOK_EVERY):
        supervision.look(stack.parts.values())


def _keep_last_logs(folder: Path) -> None:
    """The logs of the run before stay, as `.log.1`; older ones go."""
    for log in folder.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds `folder` for this process. Raises Trouble when another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Trouble(
                f"A stack already runs on {folder} (process {file.read().strip()}). Stop that one first, or start "
                'another beside it: make run ARGS="--folder .parley2 --port 9080 --base-port 5300"'
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield

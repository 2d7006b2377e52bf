"""One running part of the stack: a real server, its log, and what can be done to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from devstack import pdeathsig
from devstack.errors import ProcessFailed, StopRequested, SetupError
from devstack.ports import LOOPBACK

Probe = Callable[[], str | None]
"""One look at a part: None when it is healthy, else what is still missing."""

_POLL_INTERVAL_S = 0.03
_LOG_TAIL_LINES = 12

# The kernel takes the death of the *thread* that started a child for the death of its parent, so one thread
# that lives as long as we do starts them all, and `start` may be called from any.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="devstack-starter")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """How a part is started and looked at.

    It listens on `ports`, the one of `address` among them. `grace` is how long, in seconds, it may take to end.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    probe: Probe
    address: str
    ports: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    grace: float = 10.0


class ManagedProcess:
    """A part by its recipe; it may be started again after it ended. Its calls block.

    In a test on asyncio call `kill`, `freeze`, `resume` and `start` directly (they return at once or within
    milliseconds), and `wait_healthy` and `terminate` through `asyncio.to_thread`.
    """

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._child: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} {f'pid {self.pid}' if self.running else 'not running'}>"

    @property
    def name(self) -> str:
        """What the stack calls it, such as `chat-1`."""
        return self.spec.name

    @property
    def address(self) -> str:
        """Where it serves, as `ip:port`."""
        return self.spec.address

    @property
    def log(self) -> Path:
        """The file that takes what it prints."""
        return self.spec.log

    @property
    def running(self) -> bool:
        """Whether it runs; a frozen part runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        """Its process id. Raises Trouble when it does not run."""
        if self._child is None or self._child.poll() is not None:
            raise SetupError(f"{self.name} does not run.")
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """How it ended: its exit code, or minus the signal; None while it runs or before it ran."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Starts it, without waiting until it is healthy. Does nothing when it runs."""
        if not self.running:
            self._child = _starter.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        ready, leashed = os.pipe()
        leash_command = [sys.executable, "-I", "-S", pdeathsig.__file__, str(os.getpid()), str(leashed)]
        with self.log.open("ab") as log, os.fdopen(ready, "rb") as taken_over:
            # A session of its own: Ctrl-C in the terminal is for the launcher, which stops all in order.
            child = subprocess.Popen(
                [*leash_command, *self.spec.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_child_environment(self.spec.environment),
                start_new_session=True,
                pass_fds=(leashed,),
            )
            os.close(leashed)
            # Until it is on its leash nobody may freeze it: frozen, it would outlive us.
            taken_over.read()
        return child

    def wait_healthy(self, timeout: float = 30.0, stop: Event | None = None) -> None:
        """Blocks until it is healthy.

        Raises:
            PartFailed: it ended, or is not healthy after `timeout` seconds.
            Stopped: `stop` was set meanwhile.
        """
        deadline = time.monotonic() + timeout
        while (missing := self._check_health()) is not None:
            if stop is not None and stop.is_set():
                raise StopRequested
            if time.monotonic() >= deadline:
                raise self._failure(f"is not healthy after {timeout:g} s: {missing}")
            time.sleep(_POLL_INTERVAL_S)

    def _check_health(self) -> str | None:
        if not self.running:
            raise self._failure(f"ended with {describe_exit(self.returncode)}")
        return self.spec.probe()

    def _failure(self, reason: str) -> ProcessFailed:
        return ProcessFailed(self.name, reason, last_lines(self.log))

    def kill(self) -> None:
        """SIGKILL, as a crash; returns when it is gone."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def terminate(self, grace: float | None = None) -> int | None:
        """SIGTERM; after `grace` seconds (default: the recipe's) SIGKILL. Returns how it ended."""
        self.request_stop()
        self.wait_exited(grace)
        return self.returncode

    def request_stop(self) -> None:
        """SIGTERM, without waiting."""
        self._signal(signal.SIGCONT)  # a frozen part would not hear
        self._signal(signal.SIGTERM)

    def wait_exited(self, grace: float | None = None, kill_now: Event | None = None) -> None:
        """Blocks until it has ended; kills it after `grace` seconds, and as soon as `hurry` is set."""
        deadline = time.monotonic() + (self.spec.grace if grace is None else grace)
        while self.running:
            if time.monotonic() >= deadline or (kill_now is not None and kill_now.is_set()):
                self.kill()
            time.sleep(_POLL_INTERVAL_S)

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and does nothing."""
        if self._child is not None:
            freeze(self._child)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)


def freeze(child: subprocess.Popen[bytes]) -> None:
    """SIGSTOP; returns when all its threads have stopped, for until then it may still answer, or when it has ended."""
    child.send_signal(signal.SIGSTOP)
    if child.returncode is None:
        # Who watches over it, in another thread, may learn of its end before us.
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def _child_environment(overrides: Mapping[str, str]) -> dict[str, str]:
    """Ours without Parley's own settings, which the stack alone decides, and the recipe's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    # No proxy between neighbours on one machine.
    return {**inherited, "no_proxy": LOOPBACK, "NO_PROXY": LOOPBACK, **overrides}


def describe_exit(returncode: int | None) -> str:
    """An exit code or signal in words."""
    if returncode is not None and returncode < 0:
        return signal.Signals(-returncode).name
    return f"exit code {returncode}"


def last_lines(log: Path, count: int = _LOG_TAIL_LINES) -> list[str]:
    """The last lines of a log, each cut to a screen's width; none when there is no log."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 64 * 1024))
        lines = file.read().decode(errors="replace").splitlines()
    return [line[:300] for line in lines[-count:]]

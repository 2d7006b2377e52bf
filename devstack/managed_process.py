"""A managed process: a real server of the stack with its log and health probe, which can be stopped and frozen."""

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
from typing import IO

from devstack import pdeathsig
from devstack.errors import ProcessFailed, SetupError, StopRequested
from devstack.ports import LOOPBACK

Probe = Callable[[], str | None]
"""A health check of a process: it returns None if the process is healthy, else the reason why not."""

_POLL_INTERVAL_S = 0.03
_LOG_TAIL_LINES = 12

# The kernel sends the parent-death signal when the *thread* that started the child ends. One thread that lives as
# long as the launcher therefore starts all children, so that `start` may be called from any thread.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="devstack-starter")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """The command, log and health probe of a process.

    `ports` are all ports it listens on, including that of `address`. `grace` is the time in seconds from SIGTERM to
    SIGKILL.
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
    """A process that runs by its spec; it can be started again after it ended. Its calls block.

    In an asyncio test call `kill`, `freeze`, `resume` and `start` directly (they return within milliseconds), but
    `wait_healthy` and `terminate` through `asyncio.to_thread`.
    """

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._child: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.name} {f'pid {self.pid}' if self.running else 'not running'}>"

    @property
    def name(self) -> str:
        """The name in the stack, such as `chat-1`."""
        return self.spec.name

    @property
    def address(self) -> str:
        """The address that it serves at, as `ip:port`."""
        return self.spec.address

    @property
    def log(self) -> Path:
        """The file of its stdout and stderr."""
        return self.spec.log

    @property
    def running(self) -> bool:
        """True while the process exists, also while it is frozen."""
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        """The process id. Raises SetupError if the process is not running."""
        if self._child is None or self._child.poll() is not None:
            raise SetupError(f"{self.name} is not running.")
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal that killed it; None while it runs and before its first start."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Start the process without waiting until it is healthy. Do nothing if it runs."""
        if not self.running:
            self._child = _starter.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        read_end, write_end = os.pipe()
        wrapper = [sys.executable, "-I", "-S", pdeathsig.__file__, str(os.getpid()), str(write_end)]
        with self._open_log() as log, os.fdopen(read_end, "rb") as executed:
            # A new session, so that Ctrl-C in the terminal reaches only the launcher, which stops all in order.
            child = subprocess.Popen(
                [*wrapper, *self.spec.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_child_environment(self.spec.environment),
                start_new_session=True,
                pass_fds=(write_end,),
                # Data and logs are private: only their owner can read them.
                umask=0o077,
            )
            os.close(write_end)
            # Wait for the exec: a child that is frozen before PR_SET_PDEATHSIG would outlive the launcher.
            executed.read()
        return child

    def _open_log(self) -> IO[bytes]:
        return os.fdopen(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

    def wait_healthy(self, timeout: float = 30.0, stop: Event | None = None) -> None:
        """Block until the process is healthy.

        Raises:
            ProcessFailed: it ended, or is not healthy after `timeout` seconds.
            StopRequested: `stop` was set.
        """
        deadline = time.monotonic() + timeout
        while (reason := self._check_health()) is not None:
            if stop is not None and stop.is_set():
                raise StopRequested
            if time.monotonic() >= deadline:
                raise self._failure(f"is not healthy after {timeout:g} s: {reason}")
            time.sleep(_POLL_INTERVAL_S)

    def _check_health(self) -> str | None:
        if not self.running:
            raise self._failure(f"ended with {describe_exit(self.returncode)}")
        return self.spec.probe()

    def _failure(self, reason: str) -> ProcessFailed:
        return ProcessFailed(self.name, reason, last_lines(self.log))

    def kill(self) -> None:
        """Send SIGKILL, which is like a crash, and block until the process has ended."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def terminate(self, grace: float | None = None) -> int | None:
        """Send SIGTERM, then SIGKILL after `grace` seconds (default: the spec's). Return the return code."""
        self.request_stop()
        self.wait_exited(grace)
        return self.returncode

    def request_stop(self) -> None:
        """Send SIGTERM without waiting for the end."""
        self._signal(signal.SIGCONT)  # a frozen process would not handle SIGTERM
        self._signal(signal.SIGTERM)

    def wait_exited(self, grace: float | None = None, kill_now: Event | None = None) -> None:
        """Block until the process has ended; kill it after `grace` seconds, or once `kill_now` is set."""
        deadline = time.monotonic() + (self.spec.grace if grace is None else grace)
        while self.running:
            if time.monotonic() >= deadline or (kill_now is not None and kill_now.is_set()):
                self.kill()
            time.sleep(_POLL_INTERVAL_S)

    def freeze(self) -> None:
        """Send SIGSTOP: the process keeps its connections and does nothing."""
        if self._child is not None:
            freeze(self._child)

    def resume(self) -> None:
        """Send SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)


def freeze(child: subprocess.Popen[bytes]) -> None:
    """Send SIGSTOP and block until all threads of the child have stopped, or until it has ended.

    Until then the child could still answer a request.
    """
    child.send_signal(signal.SIGSTOP)
    if child.returncode is None:
        # Another thread that supervises the child may reap it first.
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def _child_environment(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without its PARLEY_ settings, which the stack alone sets, and with `overrides`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    # The processes of one machine must not use a proxy to reach each other.
    return {**inherited, "no_proxy": LOOPBACK, "NO_PROXY": LOOPBACK, **overrides}


def describe_exit(returncode: int | None) -> str:
    """Return a return code in words: the name of the signal, or `exit code n`."""
    if returncode is not None and returncode < 0:
        return signal.Signals(-returncode).name
    return f"exit code {returncode}"


def last_lines(log: Path, count: int = _LOG_TAIL_LINES) -> list[str]:
    """Return the last `count` lines of a log, each cut to 300 characters; none if there is no log."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 64 * 1024))
        lines = file.read().decode(errors="replace").splitlines()
    return [line[:300] for line in lines[-count:]]

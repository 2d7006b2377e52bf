"""The supervisor of a running stack, which restarts processes that end, with exponential backoff."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from devstack.errors import ProcessFailed
from devstack.managed_process import ManagedProcess, describe_exit, last_lines

INITIAL_BACKOFF_S = 0.5
MAX_BACKOFF_S = 8.0
RAPID_EXIT_S = 30.0
MAX_RAPID_EXITS = 5


@dataclass(slots=True)
class _ProcessState:
    """The state of a supervised process. Times are seconds of the supervisor's clock."""

    started_at: float
    rapid_exits: int = 0
    restart_at: float | None = None
    awaiting_health: bool = False


class Supervisor:
    """A supervisor of started processes; `check` is called several times a second and never blocks for long.

    An exit within RAPID_EXIT_S seconds of the start is a rapid exit; after MAX_RAPID_EXITS of them in a row the
    supervisor gives up. The backoff before a restart doubles from INITIAL_BACKOFF_S to MAX_BACKOFF_S. Messages for the
    user go to `print_text`.
    """

    def __init__(self, print_text: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._print_text = print_text
        self._clock = clock
        self._states: dict[str, _ProcessState] = {}

    def check(self, processes: Collection[ManagedProcess]) -> None:
        """Check each process once. Raise ProcessFailed after too many rapid exits of one."""
        for process in processes:
            state = self._states.setdefault(process.name, _ProcessState(started_at=self._clock()))
            if state.restart_at is not None:
                self._restart_when_due(process, state)
            elif not process.running:
                self._schedule_restart(process, state)
            elif state.awaiting_health:
                self._report_recovery(process, state)

    def _schedule_restart(self, process: ManagedProcess, state: _ProcessState) -> None:
        state.rapid_exits = state.rapid_exits + 1 if self._clock() - state.started_at < RAPID_EXIT_S else 1
        end = describe_exit(process.returncode)
        if state.rapid_exits >= MAX_RAPID_EXITS:
            reason = f"died {state.rapid_exits} times in a row soon after its start, lastly with {end}"
            raise ProcessFailed(process.name, reason, last_lines(process.log))
        backoff = min(MAX_BACKOFF_S, INITIAL_BACKOFF_S * 2 ** (state.rapid_exits - 1))
        state.restart_at = self._clock() + backoff
        self._print_text(f"{process.name} died with {end}; starting it again in {backoff:g} s. Its log: {process.log}")

    def _restart_when_due(self, process: ManagedProcess, state: _ProcessState) -> None:
        if state.restart_at is not None and self._clock() >= state.restart_at:
            process.start()
            state.started_at, state.restart_at, state.awaiting_health = self._clock(), None, True

    def _report_recovery(self, process: ManagedProcess, state: _ProcessState) -> None:
        if process.spec.probe() is None:
            state.awaiting_health = False
            self._print_text(f"{process.name} is healthy again.")

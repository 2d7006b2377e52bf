"""Keeping a stack up: a part that died is started again, later each time, until it is plain that it will not live."""

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
    """What is remembered of a part between looks. Times are the clock's seconds."""

    started_at: float
    rapid_exits: int = 0
    restart_at: float | None = None
    awaiting_health: bool = False


class Supervisor:
    """Looks after parts that were started; `look` is called a few times a second and never blocks for long.

    A life under QUICK seconds is a quick death. After MOST_QUICK_DEATHS of them in a row it gives up. Pauses between
    a death and the next start double from FIRST_PAUSE to LONGEST_PAUSE. `say` takes lines for the person.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._print_text = say
        self._clock = clock
        self._states: dict[str, _ProcessState] = {}

    def check(self, parts: Collection[ManagedProcess]) -> None:
        """One look at each part. Raises PartFailed when one has died too often."""
        for part in parts:
            life = self._states.setdefault(part.name, _ProcessState(started_at=self._clock()))
            if life.restart_at is not None:
                self._restart_when_due(part, life)
            elif not part.running:
                self._schedule_restart(part, life)
            elif life.awaiting_health:
                self._report_recovery(part, life)

    def _schedule_restart(self, part: ManagedProcess, life: _ProcessState) -> None:
        life.rapid_exits = life.rapid_exits + 1 if self._clock() - life.started_at < RAPID_EXIT_S else 1
        end = describe_exit(part.returncode)
        if life.rapid_exits >= MAX_RAPID_EXITS:
            what = f"died {life.rapid_exits} times in a row soon after its start, lastly with {end}"
            raise ProcessFailed(part.name, what, last_lines(part.log))
        pause = min(MAX_BACKOFF_S, INITIAL_BACKOFF_S * 2 ** (life.rapid_exits - 1))
        life.restart_at = self._clock() + pause
        self._print_text(f"{part.name} died with {end}; starting it again in {pause:g} s. Its log: {part.log}")

    def _restart_when_due(self, part: ManagedProcess, life: _ProcessState) -> None:
        if life.restart_at is not None and self._clock() >= life.restart_at:
            part.start()
            life.started_at, life.restart_at, life.awaiting_health = self._clock(), None, True

    def _report_recovery(self, part: ManagedProcess, life: _ProcessState) -> None:
        if part.spec.probe() is None:
            life.awaiting_health = False
            self._print_text(f"{part.name} is healthy again.")

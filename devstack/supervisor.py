"""Keeping a stack up: a part that died is started again, later each time, until it is plain that it will not live."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from devstack.errors import PartFailed
from devstack.managed_process import Part, describe_end, last_lines

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0
QUICK = 30.0
MOST_QUICK_DEATHS = 5


@dataclass(slots=True)
class _Life:
    """What is remembered of a part between looks. Times are the clock's seconds."""

    started: float
    quick_deaths: int = 0
    start_again: float | None = None
    recovering: bool = False


class Supervision:
    """Looks after parts that were started; `look` is called a few times a second and never blocks for long.

    A life under QUICK seconds is a quick death. After MOST_QUICK_DEATHS of them in a row it gives up. Pauses between
    a death and the next start double from FIRST_PAUSE to LONGEST_PAUSE. `say` takes lines for the person.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._lives: dict[str, _Life] = {}

    def look(self, parts: Collection[Part]) -> None:
        """One look at each part. Raises PartFailed when one has died too often."""
        for part in parts:
            life = self._lives.setdefault(part.name, _Life(started=self._clock()))
            if life.start_again is not None:
                self._start_when_due(part, life)
            elif not part.running:
                self._note_death(part, life)
            elif life.recovering:
                self._note_health(part, life)

    def _note_death(self, part: Part, life: _Life) -> None:
        life.quick_deaths = life.quick_deaths + 1 if self._clock() - life.started < QUICK else 1
        end = describe_end(part.returncode)
        if life.quick_deaths >= MOST_QUICK_DEATHS:
            what = f"died {life.quick_deaths} times in a row soon after its start, lastly with {end}"
            raise PartFailed(part.name, what, last_lines(part.log))
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (life.quick_deaths - 1))
        life.start_again = self._clock() + pause
        self._say(f"{part.name} died with {end}; starting it again in {pause:g} s. Its log: {part.log}")

    def _start_when_due(self, part: Part, life: _Life) -> None:
        if life.start_again is not None and self._clock() >= life.start_again:
            part.start()
            life.started, life.start_again, life.recovering = self._clock(), None, True

    def _note_health(self, part: Part, life: _Life) -> None:
        if part.recipe.probe() is None:
            life.recovering = False
            self._say(f"{part.name} is healthy again.")

"""The spans of a scene: the load runs on, and what everybody used is read at the beginning and the end of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench.environment import Grounds
from bench.figures import Figure, Line, gathered
from bench.generator import Count, LoadGenerator
from bench.sizes import Sizes
from bench.table import number
from bench.usage import Usage, usage
from devstack.errors import Trouble

Lines = Callable[[Count, Usage], Sequence[Line]]


class Measuring:
    """Measures scenes on `grounds`. `say` takes lines for the person.

    `cores_of_others` is the most that programs without a part in it used in any span.
    """

    def __init__(self, grounds: Grounds, sizes: Sizes, say: Callable[[str], None]) -> None:
        self.grounds = grounds
        self.sizes = sizes
        self.say = say
        self.cores_of_others = 0.0

    def spans(self, scene: str, load: LoadGenerator, lines: Lines) -> list[Figure]:
        """The figures of a load that runs already. Raises Trouble when sends are refused or nothing happens."""
        self.say(f"{scene}: warming up for {self.sizes.warm_up:g} s")
        time.sleep(self.sizes.warm_up)
        repeats = []
        for number_ in range(1, self.sizes.repeats + 1):
            count, used = self._span(load)
            self.cores_of_others = max(self.cores_of_others, used.cores_of_others)
            repeats.append(lines(count, used))
            self.say_repeat(scene, number_, repeats[-1])
        return gathered(scene, repeats)

    def say_repeat(self, scene: str, repeat: int, lines: Sequence[Line]) -> None:
        """How a repeat went."""
        told = ", ".join(f"{line.name} {number(line.value)} {line.unit}" for line in lines[:2])
        self.say(f"{scene}: {repeat} of {self.sizes.repeats}: {told}")

    def _span(self, load: LoadGenerator) -> tuple[Count, Usage]:
        pids = {**self.grounds.pids(), "load": [load.pid]}
        count, used = load.count(), usage(pids)
        time.sleep(self.sizes.span)
        count, used = load.count().since(count), usage(pids).since(used)
        if count.refusals:
            raise Trouble(f"Sends were refused, so that there is nothing to measure: {count.refusals}")
        if not count.answered or not count.delivered:
            raise Trouble(f"Nothing was delivered in {self.sizes.span:g} s.")
        return count, used

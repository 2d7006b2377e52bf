"""The spans of a scene: the load runs on, and what everybody used is read at the beginning and the end of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bench.environment import BenchEnvironment
from bench.figures import Figure, Sample, combine_repeats
from bench.generator import LoadCounts, LoadGenerator
from bench.sizes import Sizes
from bench.table import format_number
from bench.usage import Usage, read_usage
from devstack.errors import SetupError

MakeSamples = Callable[[LoadCounts, Usage], Sequence[Sample]]


class Measurement:
    """Measures scenes on `grounds`. `say` takes lines for the person.

    `cores_of_others` is the most that programs without a part in it used in any span.
    """

    def __init__(self, environment: BenchEnvironment, sizes: Sizes, print_text: Callable[[str], None]) -> None:
        self.environment = environment
        self.sizes = sizes
        self.print_text = print_text
        self.cores_of_others = 0.0

    def measure(self, scene: str, load: LoadGenerator, make_samples: MakeSamples) -> list[Figure]:
        """The figures of a load that runs already. Raises Trouble when sends are refused or nothing happens."""
        self.print_text(f"{scene}: warming up for {self.sizes.warm_up:g} s")
        time.sleep(self.sizes.warm_up)
        repeats = []
        for number_ in range(1, self.sizes.repeats + 1):
            count, used = self._measure_span(load)
            self.cores_of_others = max(self.cores_of_others, used.cores_of_others)
            repeats.append(make_samples(count, used))
            self.print_repeat(scene, number_, repeats[-1])
        return combine_repeats(scene, repeats)

    def print_repeat(self, scene: str, repeat: int, samples: Sequence[Sample]) -> None:
        """How a repeat went."""
        told = ", ".join(f"{line.name} {format_number(line.value)} {line.unit}" for line in samples[:2])
        self.print_text(f"{scene}: {repeat} of {self.sizes.repeats}: {told}")

    def _measure_span(self, load: LoadGenerator) -> tuple[LoadCounts, Usage]:
        pids = {**self.environment.pids(), "load": [load.pid]}
        count, used = load.read_counts(), read_usage(pids)
        time.sleep(self.sizes.span)
        count, used = load.read_counts().since(count), read_usage(pids).since(used)
        if count.refusals:
            raise SetupError(f"Sends were refused, so that there is nothing to measure: {count.refusals}")
        if not count.answered or not count.delivered:
            raise SetupError(f"Nothing was delivered in {self.sizes.span:g} s.")
        return count, used

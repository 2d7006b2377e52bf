"""The measurement of a workload: counters and CPU usage are read at the start and the end of each repeat."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from bench.environment import BenchEnvironment
from bench.figures import Figure, Sample, combine_repeats
from bench.generator import LoadCounts, LoadGenerator
from bench.sizes import Sizes
from bench.table import format_number
from bench.usage import Usage, read_usage
from devstack.errors import SetupError

Result = TypeVar("Result")

MakeSamples = Callable[[LoadCounts, Usage], Sequence[Sample]]


class Measurement:
    """A measurement of workloads on `environment`. Progress messages go to `print_text`.

    `cores_of_others` is the maximum over all repeats of the cores that programs outside the benchmark used.
    """

    def __init__(self, environment: BenchEnvironment, sizes: Sizes, print_text: Callable[[str], None]) -> None:
        self.environment = environment
        self.sizes = sizes
        self.print_text = print_text
        self.cores_of_others = 0.0

    def measure(self, workload: str, load: LoadGenerator, make_samples: MakeSamples) -> list[Figure]:
        """Return the figures of a running load. Raise SetupError if sends are refused or nothing is delivered."""
        self.print_text(f"{workload}: warming up for {self.sizes.warm_up:g} s")
        time.sleep(self.sizes.warm_up)
        repeats = []
        for repeat in range(1, self.sizes.repeats + 1):
            count, used = self._measure_span(load)
            self.cores_of_others = max(self.cores_of_others, used.cores_of_others)
            repeats.append(make_samples(count, used))
            self.print_repeat(workload, repeat, repeats[-1])
        return combine_repeats(workload, repeats)

    def measure_work(self, work: Callable[[], Result]) -> tuple[Result, Usage]:
        """Return the result of `work`, and the time and CPU that it took."""
        pids = self.environment.pids()
        used = read_usage(pids)
        result = work()
        used = read_usage(pids).since(used)
        self.cores_of_others = max(self.cores_of_others, used.cores_of_others)
        return result, used

    def print_repeat(self, workload: str, repeat: int, samples: Sequence[Sample]) -> None:
        """Print the first two samples of a repeat."""
        text = ", ".join(f"{sample.name} {format_number(sample.value)} {sample.unit}" for sample in samples[:2])
        self.print_text(f"{workload}: {repeat} of {self.sizes.repeats}: {text}")

    def _measure_span(self, load: LoadGenerator) -> tuple[LoadCounts, Usage]:
        pids = {**self.environment.pids(), "load": [load.pid]}
        count, used = load.read_counts(), read_usage(pids)
        time.sleep(self.sizes.span)
        count, used = load.read_counts().since(count), read_usage(pids).since(used)
        if count.refusals:
            raise SetupError(f"Sends were refused, so there is nothing to measure: {count.refusals}")
        if not count.answered or not count.delivered:
            raise SetupError(f"Nothing was delivered in {self.sizes.span:g} s.")
        return count, used

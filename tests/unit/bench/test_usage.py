"""CPU and memory usage of processes, read from /proc."""

import os
import time
from pathlib import Path

import pytest

from bench.usage import (
    TICKS_PER_SECOND,
    Usage,
    parse_busy_seconds,
    parse_cpu_ticks,
    process_cpu_seconds,
    resident_bytes,
)


def test_cpu_ticks_are_parsed_after_any_process_name() -> None:
    fields = " ".join(["S", *(str(number) for number in range(4, 53))])
    assert parse_cpu_ticks(f"42 (a) b ( c)) {fields}") == 14 + 15


def test_busy_time_excludes_idle_and_iowait() -> None:
    tick = os.sysconf("SC_CLK_TCK")
    stat = f"cpu  {tick} {2 * tick} {3 * tick} 1000 2000 0 {4 * tick} {5 * tick} 99 99\ncpu0 1 1 1 1\n"
    assert parse_busy_seconds(stat) == pytest.approx(15.0)


def test_usage_is_the_difference_of_two_samples() -> None:
    before = Usage(10.0, {"chat": 1.0, "envoy": 2.0}, 100.0)
    after = Usage(12.0, {"chat": 2.5, "envoy": 2.5}, 103.0)
    assert after.since(before) == Usage(2.0, {"chat": 1.5, "envoy": 0.5}, 3.0)


@pytest.mark.parametrize(("machine", "cores"), [(3.0, 0.5), (1.9, 0.0)])
def test_unmeasured_cpu_time_is_attributed_to_other_processes(machine: float, cores: float) -> None:
    assert Usage(2.0, {"chat": 1.5, "envoy": 0.5}, machine).cores_of_others == pytest.approx(cores)


def test_usage_of_own_process_is_plausible() -> None:
    before, used, after = time.process_time(), process_cpu_seconds(os.getpid()), time.process_time()
    # The kernel truncates user and system time to whole ticks.
    assert before - 2 / TICKS_PER_SECOND <= used <= after + 1 / TICKS_PER_SECOND
    assert resident_bytes(os.getpid()) > 1 << 20


def test_ended_process_is_not_found() -> None:
    gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    with pytest.raises(FileNotFoundError):
        process_cpu_seconds(gone)

"""What the kernel says of processes."""

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


def test_user_and_system_time_are_found_behind_any_name() -> None:
    fields = " ".join(["S", *(str(number) for number in range(4, 53))])
    assert parse_cpu_ticks(f"42 (a) b ( c)) {fields}") == 14 + 15


def test_the_machine_is_busy_while_it_is_neither_idle_nor_waiting_for_a_disk() -> None:
    tick = os.sysconf("SC_CLK_TCK")
    stat = f"cpu  {tick} {2 * tick} {3 * tick} 1000 2000 0 {4 * tick} {5 * tick} 99 99\ncpu0 1 1 1 1\n"
    assert parse_busy_seconds(stat) == pytest.approx(15.0)


def test_usage_between_two_moments() -> None:
    before = Usage(10.0, {"chat": 1.0, "envoy": 2.0}, 100.0)
    after = Usage(12.0, {"chat": 2.5, "envoy": 2.5}, 103.0)
    assert after.since(before) == Usage(2.0, {"chat": 1.5, "envoy": 0.5}, 3.0)


@pytest.mark.parametrize(("machine", "cores"), [(3.0, 0.5), (1.9, 0.0)])
def test_what_is_not_measured_is_the_work_of_others(machine: float, cores: float) -> None:
    assert Usage(2.0, {"chat": 1.5, "envoy": 0.5}, machine).cores_of_others == pytest.approx(cores)


def test_our_own_process() -> None:
    before, used, after = time.process_time(), process_cpu_seconds(os.getpid()), time.process_time()
    # The kernel cuts user and system time off to whole ticks.
    assert before - 2 / TICKS_PER_SECOND <= used <= after + 1 / TICKS_PER_SECOND
    assert resident_bytes(os.getpid()) > 1 << 20


def test_a_process_that_ended_is_noticed() -> None:
    gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    with pytest.raises(FileNotFoundError):
        process_cpu_seconds(gone)

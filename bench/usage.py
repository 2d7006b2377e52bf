"""What processes used so far, as the kernel counts it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# In the rest of /proc/<pid>/stat, after the name in brackets: user and system time.
_USER, _SYSTEM = 11, 12
# In the first line of /proc/stat: idle, and waiting for a disk.
_IDLE: Final = (3, 4)
_COLUMNS: Final = 8


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds by kind of process and of the whole machine, at a moment (monotonic seconds)."""

    at: float
    cpu_by_kind: Mapping[str, float]
    machine: float

    def since(self, before: Usage) -> Usage:
        """What was used between two moments; `at` is the time between them."""
        used = {kind: seconds - before.cpu_by_kind[kind] for kind, seconds in self.cpu_by_kind.items()}
        return Usage(self.at - before.at, used, self.machine - before.machine)

    @property
    def cores_of_others(self) -> float:
        """Of a span: how many cores ran what is not measured here."""
        return max(0.0, self.machine - sum(self.cpu_by_kind.values())) / self.at


def read_usage(pids: Mapping[str, list[int]]) -> Usage:
    """The CPU that processes used so far, their threads included. Raises FileNotFoundError when one has ended."""
    used = {kind: sum(map(process_cpu_seconds, each)) for kind, each in pids.items()}
    return Usage(time.monotonic(), used, parse_busy_seconds(Path("/proc/stat").read_text()))


def process_cpu_seconds(pid: int) -> float:
    """User and system time of a process. Raises FileNotFoundError when it has ended."""
    return parse_cpu_ticks(Path(f"/proc/{pid}/stat").read_text()) / TICKS_PER_SECOND


def parse_cpu_ticks(stat: str) -> int:
    """User and system time in a line of /proc/<pid>/stat, whose second field may hold anything in its brackets."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[_USER]) + int(fields[_SYSTEM])


def parse_busy_seconds(stat: str) -> float:
    """The time all cores were busy, from /proc/stat."""
    columns = [int(each) for each in stat.partition("\n")[0].split()[1 : _COLUMNS + 1]]
    return (sum(columns) - sum(columns[each] for each in _IDLE)) / TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """The memory of a process. Raises FileNotFoundError when it has ended."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES

"""The CPU time and memory of processes, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# The indexes of user and system time in /proc/<pid>/stat, counted after the name in brackets.
_USER, _SYSTEM = 11, 12
# The columns of idle and I/O wait time in the first line of /proc/stat.
_IDLE: Final = (3, 4)
_COLUMNS: Final = 8


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU seconds used by each kind of process and by the whole machine until a time, or between two times.

    `at` is in monotonic seconds, or a duration in seconds.
    """

    at: float
    cpu_by_kind: Mapping[str, float]
    machine: float

    def since(self, before: Usage) -> Usage:
        """Return the usage since an earlier reading; `at` is the time between them."""
        used = {kind: seconds - before.cpu_by_kind[kind] for kind, seconds in self.cpu_by_kind.items()}
        return Usage(self.at - before.at, used, self.machine - before.machine)

    @property
    def cores_of_others(self) -> float:
        """The mean number of cores that other programs used; only for a usage between two times."""
        return max(0.0, self.machine - sum(self.cpu_by_kind.values())) / self.at


def read_usage(pids: Mapping[str, list[int]]) -> Usage:
    """Return the CPU time used so far by the processes of each kind. Raise FileNotFoundError if one has ended."""
    used = {kind: sum(map(process_cpu_seconds, of_kind)) for kind, of_kind in pids.items()}
    return Usage(time.monotonic(), used, parse_busy_seconds(Path("/proc/stat").read_text()))


def process_cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process with all threads. Raise FileNotFoundError if it has ended."""
    return parse_cpu_ticks(Path(f"/proc/{pid}/stat").read_text()) / TICKS_PER_SECOND


def child_pids(pid: int) -> list[int]:
    """Return the ids of the processes that a process has started. Raise FileNotFoundError if it has ended."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def parse_cpu_ticks(stat: str) -> int:
    """Return user and system time in ticks from /proc/<pid>/stat, whose second field may contain any characters."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[_USER]) + int(fields[_SYSTEM])


def parse_busy_seconds(stat: str) -> float:
    """Return the busy seconds of all cores from the text of /proc/stat."""
    columns = [int(column) for column in stat.partition("\n")[0].split()[1 : _COLUMNS + 1]]
    return (sum(columns) - sum(columns[index] for index in _IDLE)) / TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes. Raise FileNotFoundError if it has ended."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES

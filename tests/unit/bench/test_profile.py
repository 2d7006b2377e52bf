"""The profile of a process, sorted by time spent."""

import cProfile
from pathlib import Path

from bench.profile import format_profile, hottest_functions


def busy(steps: int) -> int:
    return sum(step * step for step in range(steps))


def test_hottest_functions_come_first(tmp_path: Path) -> None:
    profile = cProfile.Profile()
    for _ in range(3):
        profile.runcall(busy, 20_000)
    profile.dump_stats(tmp_path / "profile")
    rows = hottest_functions(tmp_path / "profile", 2)
    assert len(rows) == 2
    # The built-in sum takes about as long as the generator that it sums.
    assert any("bench/test_profile.py" in row[0] for row in rows)
    assert rows[0][2] >= rows[1][2]
    assert [line.split()[-1] for line in format_profile(rows)[1:]] == [row[0].split()[-1] for row in rows]

"""A dead part is restarted with growing delays until it has died too often."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from devstack.errors import ProcessFailed
from devstack.managed_process import ManagedProcess, ProcessSpec
from devstack.supervisor import MAX_BACKOFF_S, MAX_RAPID_EXITS, RAPID_EXIT_S, Supervisor


class SupervisedPart:
    """A part under supervision, with a manual clock."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.messages: list[str] = []
        self.healthy = True
        command = (sys.executable, "-c", "import time; time.sleep(60)")
        recipe = ProcessSpec(
            "sample", command, folder / "log", lambda: None if self.healthy else "not yet", "127.0.0.1:1"
        )
        self.part = ManagedProcess(recipe)
        self.part.start()
        self.supervision = Supervisor(self.messages.append, lambda: self.now)
        self.step()

    def step(self, after: float = 0.0) -> None:
        self.now += after
        self.supervision.check([self.part])

    def crash(self) -> None:
        self.part.kill()
        self.step()


@pytest.fixture
def supervised(tmp_path: Path) -> SupervisedPart:
    return SupervisedPart(tmp_path)


@pytest.fixture(autouse=True)
def kill_part(supervised: SupervisedPart) -> object:
    yield
    supervised.part.kill()


def test_healthy_part_prints_nothing(supervised: SupervisedPart) -> None:
    supervised.step(after=100)
    assert supervised.messages == []


def test_dead_part_is_restarted_after_a_delay(supervised: SupervisedPart) -> None:
    supervised.crash()
    assert supervised.messages == [
        f"sample died with SIGKILL; starting it again in 0.5 s. Its log: {supervised.part.log}"
    ]
    supervised.step(after=0.4)
    assert supervised.part.returncode is not None
    supervised.healthy = False
    supervised.step(after=0.1)
    assert supervised.part.running
    supervised.step()
    assert len(supervised.messages) == 1
    supervised.healthy = True
    supervised.step()
    assert supervised.messages[1:] == ["sample is healthy again."]


def test_delays_grow_until_too_many_quick_deaths(supervised: SupervisedPart) -> None:
    for death in range(1, MAX_RAPID_EXITS):
        supervised.crash()
        assert f"again in {min(MAX_BACKOFF_S, 0.5 * 2 ** (death - 1)):g} s" in supervised.messages[-1]
        supervised.step(after=MAX_BACKOFF_S)
    with pytest.raises(ProcessFailed, match="sample died 5 times in a row soon after its start, lastly with SIGKILL"):
        supervised.crash()


def test_long_run_resets_the_delay(supervised: SupervisedPart) -> None:
    for _ in range(3 * MAX_RAPID_EXITS):
        supervised.step(after=RAPID_EXIT_S)
        supervised.crash()
        assert "again in 0.5 s" in supervised.messages[-1]
        supervised.step(after=MAX_BACKOFF_S)

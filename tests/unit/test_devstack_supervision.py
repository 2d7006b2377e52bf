"""A dead part is restarted with growing delays until it has died too often."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from devstack.errors import ProcessFailed
from devstack.managed_process import ManagedProcess, ProcessSpec
from devstack.supervisor import MAX_BACKOFF_S, MAX_RAPID_EXITS, RAPID_EXIT_S, Supervisor


class Story:
    """A part under supervision, with a manual clock."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.healthy = True
        command = (sys.executable, "-c", "import time; time.sleep(60)")
        recipe = ProcessSpec(
            "sample", command, folder / "log", lambda: None if self.healthy else "not yet", "127.0.0.1:1"
        )
        self.part = ManagedProcess(recipe)
        self.part.start()
        self.supervision = Supervisor(self.said.append, lambda: self.now)
        self.look()

    def look(self, after: float = 0.0) -> None:
        self.now += after
        self.supervision.check([self.part])

    def dies(self) -> None:
        self.part.kill()
        self.look()


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


@pytest.fixture(autouse=True)
def nothing_stays(story: Story) -> object:
    yield
    story.part.kill()


def test_healthy_part_prints_nothing(story: Story) -> None:
    story.look(after=100)
    assert story.said == []


def test_dead_part_is_restarted_after_a_delay(story: Story) -> None:
    story.dies()
    assert story.said == [f"sample died with SIGKILL; starting it again in 0.5 s. Its log: {story.part.log}"]
    story.look(after=0.4)
    assert story.part.returncode is not None
    story.healthy = False
    story.look(after=0.1)
    assert story.part.running
    story.look()
    assert len(story.said) == 1
    story.healthy = True
    story.look()
    assert story.said[1:] == ["sample is healthy again."]


def test_delays_grow_until_too_many_quick_deaths(story: Story) -> None:
    for death in range(1, MAX_RAPID_EXITS):
        story.dies()
        assert f"again in {min(MAX_BACKOFF_S, 0.5 * 2 ** (death - 1)):g} s" in story.said[-1]
        story.look(after=MAX_BACKOFF_S)
    with pytest.raises(ProcessFailed, match="sample died 5 times in a row soon after its start, lastly with SIGKILL"):
        story.dies()


def test_long_run_resets_the_delay(story: Story) -> None:
    for _ in range(3 * MAX_RAPID_EXITS):
        story.look(after=RAPID_EXIT_S)
        story.dies()
        assert "again in 0.5 s" in story.said[-1]
        story.look(after=MAX_BACKOFF_S)

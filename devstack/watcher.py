"""Who hears how a start goes."""

from __future__ import annotations

from typing import Protocol

from devstack.managed_process import ManagedProcess


class Watcher(Protocol):
    """Told of each part as it comes up."""

    def process_started(self, part: ManagedProcess) -> None:
        """It was started."""

    def process_healthy(self, part: ManagedProcess, seconds: float) -> None:
        """It became healthy, so long after its start."""


class NullWatcher:
    """Tells nobody."""

    def process_started(self, part: ManagedProcess) -> None:
        """Nothing."""

    def process_healthy(self, part: ManagedProcess, seconds: float) -> None:
        """Nothing."""

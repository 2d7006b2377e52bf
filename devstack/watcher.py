"""Watchers of the start of a stack."""

from __future__ import annotations

from typing import Protocol

from devstack.managed_process import ManagedProcess


class Watcher(Protocol):
    """An observer that is called for each process that starts."""

    def process_started(self, process: ManagedProcess) -> None:
        """Handle that the process was started."""

    def process_healthy(self, process: ManagedProcess, seconds: float) -> None:
        """Handle that the process became healthy, `seconds` after its start."""


class NullWatcher:
    """A watcher that does nothing."""

    def process_started(self, process: ManagedProcess) -> None:
        """Ignore the event."""

    def process_healthy(self, process: ManagedProcess, seconds: float) -> None:
        """Ignore the event."""

"""Who hears how a start goes."""

from __future__ import annotations

from typing import Protocol

from devstack.managed_process import Part


class Watcher(Protocol):
    """Told of each part as it comes up."""

    def starting(self, part: Part) -> None:
        """It was started."""

    def healthy(self, part: Part, seconds: float) -> None:
        """It became healthy, so long after its start."""


class Silent:
    """Tells nobody."""

    def starting(self, part: Part) -> None:
        """Nothing."""

    def healthy(self, part: Part, seconds: float) -> None:
        """Nothing."""

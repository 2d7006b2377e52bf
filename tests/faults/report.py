"""The result of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.judge import Broken


@dataclass(slots=True)
class Report:
    """The result of a run. A run with reasons in `inconclusive` proves nothing."""

    seed: int
    seconds: float
    acknowledged: int = 0
    entries: int = 0
    given: int = 0
    converged_s: float = 0.0
    # Acknowledged uploads, messages with files, and the seconds until what nothing needed was gone.
    uploads: int = 0
    references: int = 0
    downloads: int = 0
    settled_s: float = 0.0
    # What watchers were told of users, and the seconds until all knew the truth.
    presences: int = 0
    presence_s: float = 0.0
    # Recorded pushes, those that were promised, and the seconds until the last of these had arrived.
    pushes: int = 0
    promised_pushes: int = 0
    push_s: float = 0.0
    well: float = 0.0
    struck: dict[str, int] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    # Spans of traces, and where content or secrets were found in logs, traces and metrics.
    spans: int = 0
    leaks: list[str] = field(default_factory=list)
    # What users were told that they should not have been, and which parts ended by themselves.
    errors: list[str] = field(default_factory=list)
    inconclusive: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Return true if the run is conclusive and every promise was kept."""
        return not self.broken and not self.errors and not self.leaks and not self.inconclusive

    def check_kept(self) -> None:
        """Raise AssertionError if a promise was broken, a user was told an error, or something leaked."""
        assert not self.leaks, self.leaks[:5]
        assert not self.broken, [str(each) for each in self.broken[:5]]
        assert not self.errors, self.errors[:5]

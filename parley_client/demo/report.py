"""What the demo found: a verdict for each promise, and how fast it was."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a promise was kept. `promise` is "P1" to "P8" or a word; `detail` says what broke it."""

    promise: str
    claim: str
    kept: bool
    detail: str = ""


@dataclass(slots=True)
class Report:
    """All verdicts of one run. `latencies` are in seconds, from send to the event on the other device."""

    verdicts: list[Verdict] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """What could not be checked, because this version does not serve it yet."""

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return all(verdict.kept for verdict in self.verdicts)

    @property
    def broken(self) -> list[str]:
        """The names of the promises that were not kept, each once."""
        return list(dict.fromkeys(verdict.promise for verdict in self.verdicts if not verdict.kept))

    def add_verdict(self, promise: str, claim: str, troubles: list[str]) -> None:
        """Add a verdict: kept if there are no `troubles`, of which the first few are told."""
        more = f" (and {len(troubles) - 3} more)" if len(troubles) > 3 else ""
        self.verdicts.append(Verdict(promise, claim, not troubles, "; ".join(troubles[:3]) + more))

    def latency(self, share: float) -> float:
        """The latency that `share` of the sends stayed within, in seconds; nan if there were none."""
        if not self.latencies:
            return float("nan")
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

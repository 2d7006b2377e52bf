"""The result of the demo: a verdict for each promise, and the latencies."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one promise. `promise` is "P1" to "P8" or a word; `detail` describes the failures."""

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
    """The checks left out because this version does not serve the calls they need."""

    @property
    def ok(self) -> bool:
        """True if every promise was kept."""
        return all(verdict.kept for verdict in self.verdicts)

    @property
    def broken(self) -> list[str]:
        """The names of the broken promises, each once."""
        return list(dict.fromkeys(verdict.promise for verdict in self.verdicts if not verdict.kept))

    def add_verdict(self, promise: str, claim: str, failures: list[str]) -> None:
        """Add a verdict: kept if there are no `failures`, of which the detail names the first three."""
        more = f" (and {len(failures) - 3} more)" if len(failures) > 3 else ""
        self.verdicts.append(Verdict(promise, claim, not failures, "; ".join(failures[:3]) + more))

    def latency(self, share: float) -> float:
        """Return the quantile `share` of the latencies in seconds; nan if there are none."""
        if not self.latencies:
            return float("nan")
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

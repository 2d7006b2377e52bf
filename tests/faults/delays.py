"""The delays of deliveries, by the journal of a run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tests.faults.journal import Journal

Moment = tuple[float, str]
"""The time at which a part of a run began, by the monotonic clock, and its name."""


def delivery_delays(journal: Journal) -> list[tuple[float, float]]:
    """Return for each delivery to another device when the message was sent, and the seconds until it was there."""
    sent = {(send.conversation, send.text): send for send in journal.sends}
    arrived: dict[tuple[str, str, str], float] = {}
    for given in journal.given:
        if given.line.text is not None:
            arrived.setdefault((given.conversation, given.line.text, given.device), given.at)
    return [
        (send.at, at - send.at)
        for (conversation, text, device), at in arrived.items()
        if (send := sent[conversation, text]).device != device
    ]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of the values does not exceed; 0 if there is none."""
    return sorted(values)[int(share * (len(values) - 1))] if values else 0.0


def describe_delays(journal: Journal, moments: Sequence[Moment]) -> str:
    """Return a line for each part of the run, with the deliveries of what was sent in it and their delays."""
    delays = delivery_delays(journal)
    lines = []
    for (begin, name), (end, _) in pairwise([*moments, (float("inf"), "")]):
        part = [seconds for sent_at, seconds in delays if begin <= sent_at < end]
        median, slow, slowest = (percentile(part, share) for share in (0.5, 0.99, 1.0))
        lines.append(f"{name}: {len(part)} deliveries, {median:.2f} s, 99 % in {slow:.2f} s, all in {slowest:.2f} s")
    return "\n".join(lines)

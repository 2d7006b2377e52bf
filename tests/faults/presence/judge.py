"""Pure functions that check the record of presence against the promise P7."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from tests.faults.journal import Struck
from tests.faults.judge import Broken
from tests.faults.presence.journal import Heard, PresenceJournal, Told
from tests.raw.presence import ONLINE

# A user may be told offline if the device was away for so long: silent on a stream, or between two streams.
SILENCE_S = 10.0
CLOSED_S = 3.0
# Answers and transitions are on their way for so long at most, on a machine that does all at once.
ON_THE_WAY_S = 1.0
LATE_S = 5.0
# The story of a false word begins so long before it, and ends so long after it.
STORY_S = 15.0


def broken_presence_promises(journal: PresenceJournal, struck: Sequence[Struck]) -> list[Broken]:
    """Return who was told away and was there, and who does not know the truth in the end."""
    return [
        *(Broken("P7 there", example) for example in _told_away(journal, struck)),
        *(Broken("P7 converged", difference) for difference in journal.differences()),
    ]


def _told_away(journal: PresenceJournal, struck: Sequence[Struck]) -> Iterator[str]:
    absences = {user: list(_absences(heard, struck)) for user, heard in journal.heard.items()}
    for told in journal.told:
        if told.state != ONLINE and told.user in absences and not _is_excused(told, absences[told.user]):
            yield f"{told.watcher} was told that {told.user[:8]} is {told.state}; {_story(journal, struck, told)}"


def _story(journal: PresenceJournal, struck: Sequence[Struck], told: Told) -> str:
    """Return what happened around a false word, in seconds before (-) and after it."""
    heard = journal.heard[told.user]
    events = [(each.at, f"heard on stream {each.stream}") for each in heard]
    events += [(one.at, f"{one.watcher} was told {one.state}") for one in journal.told if one.user == told.user]
    for each in struck:
        events += [(each.at, each.name), (each.healed_at, f"{each.name}: healed")]
    near = sorted((at - told.at, what) for at, what in events if abs(at - told.at) <= STORY_S)
    return "; ".join(f"{at:+.1f} {what}" for at, what in near)


def _is_excused(told: Told, absences: Iterable[tuple[float, float]]) -> bool:
    return any(first <= told.at <= last for first, last in absences)


def _absences(heard: Sequence[Heard], struck: Sequence[Struck]) -> Iterator[tuple[float, float]]:
    """Yield the times in which others may be told that a user is away."""
    yield float("-inf"), _delivered_by(heard[0].at, struck)
    for one, other in pairwise(heard):
        patience = (SILENCE_S if one.stream == other.stream else CLOSED_S) - ON_THE_WAY_S
        if other.at - one.at >= patience:
            yield one.at + patience, _delivered_by(other.at, struck)
    yield heard[-1].at + CLOSED_S - ON_THE_WAY_S, float("inf")


def _delivered_by(at: float, struck: Iterable[Struck]) -> float:
    """Return when all have been told of an event: a fault delays it."""
    for each in struck:
        if each.at < at + LATE_S and each.healed_at > at:
            at = each.healed_at
    return at + LATE_S

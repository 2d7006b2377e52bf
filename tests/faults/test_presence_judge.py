"""The judge of presence finds each kind of violation in a small story, and none in the correct story."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.faults.journal import Struck
from tests.faults.presence.journal import Heard, PresenceJournal, Told
from tests.faults.presence.judge import broken_presence_promises
from tests.raw.presence import BACKGROUND, OFFLINE, ONLINE

ALICE, BOB, CAROL = "alice", "bob", "carol"


@dataclass
class Story:
    """Bob is in the foreground for a minute, and heard every second on one stream; alice and carol watch him."""

    journal: PresenceJournal = field(default_factory=PresenceJournal)
    struck: list[Struck] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal.heard[BOB] = [Heard(1, float(at)) for at in range(61)]
        self.journal.truth = {BOB: ONLINE}
        for watcher in (ALICE, CAROL):
            self.journal.shown[watcher] = {BOB: ONLINE}
            self.tell(watcher, ONLINE, 0.1)

    def tell(self, watcher: str, state: str, at: float) -> None:
        self.journal.told.append(Told(watcher, BOB, state, at))

    def interrupt(self, first: float, last: float, *, other_stream: bool) -> None:
        """Let bob be heard last at `first`, and then at `last`, on the same stream or another one."""
        heard = [each for each in self.journal.heard[BOB] if not first < each.at < last]
        self.journal.heard[BOB] = [Heard(2 if other_stream and each.at >= last else 1, each.at) for each in heard]

    def broken(self) -> set[str]:
        return {each.promise for each in broken_presence_promises(self.journal, self.struck)}


def test_correct_story_breaks_no_promise() -> None:
    assert Story().broken() == set()


def test_user_who_is_there_must_not_be_told_away() -> None:
    for state in (OFFLINE, BACKGROUND):
        story = Story()
        story.tell(ALICE, state, 30.0)
        assert story.broken() == {"P7 there"}


def test_fault_alone_excuses_nobody() -> None:
    story = Story()
    story.struck = [Struck("presence server killed", 28.0, 33.0, 1)]
    story.tell(ALICE, OFFLINE, 30.0)
    assert story.broken() == {"P7 there"}


def test_user_between_two_streams_may_be_told_away() -> None:
    story = Story()
    story.interrupt(20.0, 24.0, other_stream=True)
    story.tell(ALICE, OFFLINE, 23.5)
    story.tell(ALICE, ONLINE, 24.5)
    assert story.broken() == set()


def test_user_between_two_streams_must_not_be_told_away_at_once() -> None:
    story = Story()
    story.interrupt(20.0, 24.0, other_stream=True)
    story.tell(ALICE, OFFLINE, 21.5)
    assert story.broken() == {"P7 there"}


def test_quick_change_of_streams_is_no_absence() -> None:
    story = Story()
    story.interrupt(20.0, 21.0, other_stream=True)
    story.tell(ALICE, OFFLINE, 21.0)
    assert story.broken() == {"P7 there"}


def test_silence_on_a_stream_is_an_absence_after_ten_seconds() -> None:
    story = Story()
    story.interrupt(20.0, 32.0, other_stream=False)
    story.tell(ALICE, OFFLINE, 31.0)
    assert story.broken() == set()
    story.tell(ALICE, OFFLINE, 26.0)
    assert story.broken() == {"P7 there"}


def test_absence_excuses_nothing_long_after_return() -> None:
    story = Story()
    story.interrupt(20.0, 24.0, other_stream=True)
    story.tell(ALICE, OFFLINE, 31.0)
    assert story.broken() == {"P7 there"}


def test_fault_delays_news_of_an_absence() -> None:
    story = Story()
    story.interrupt(20.0, 24.0, other_stream=True)
    story.struck = [Struck("chat server frozen", 22.0, 34.0, 1)]
    story.tell(ALICE, OFFLINE, 36.0)
    assert story.broken() == set()


def test_watcher_before_the_first_stream_is_told_away() -> None:
    story = Story()
    story.journal.heard[BOB] = [Heard(1, float(at)) for at in range(30, 61)]
    story.tell(ALICE, OFFLINE, 29.0)
    assert story.broken() == set()


def test_every_watcher_must_know_the_truth_in_the_end() -> None:
    for known in ({BOB: OFFLINE}, {}):
        story = Story()
        story.journal.shown[CAROL] = known
        assert story.broken() == {"P7 converged"}
    story = Story()
    story.journal.truth[BOB] = OFFLINE
    assert story.broken() == {"P7 converged"}

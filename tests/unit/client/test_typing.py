"""Typing is told rarely, and nobody types for ever."""

from parley_client.events import TypingChanged
from parley_client.typing_indicators import Keystrokes, Typists

HERE, THERE, YOU = "c" * 32, "d" * 32, "b" * 32


def test_the_others_are_told_at_most_every_3_seconds() -> None:
    keys = Keystrokes()
    assert [keys.typed(HERE, now) for now in (0.0, 1.0, 2.9, 3.0, 4.0)] == [True, False, False, True, False]
    assert keys.typed(THERE, 4.0)
    assert keys.stopped(HERE, 5.0)
    assert not keys.stopped(HERE, 5.0)
    assert not keys.stopped(THERE, 10.0), "they have stopped believing it"
    assert keys.typed(HERE, 10.0)
    keys.sent(HERE)
    assert keys.typed(HERE, 10.5)


def test_who_is_not_heard_of_types_no_more() -> None:
    typists = Typists()
    assert typists.heard(HERE, YOU, True, 0.0) == TypingChanged(HERE, YOU, True)
    assert typists.heard(HERE, YOU, True, 3.0) is None
    assert typists.expired(8.9) == []
    assert typists.expired(9.0) == [TypingChanged(HERE, YOU, False)]
    assert typists.heard(HERE, YOU, False, 9.0) is None

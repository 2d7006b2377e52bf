"""Typing notices are sent at a bounded rate and expire."""

from parley_client.events import TypingChanged
from parley_client.typing_indicators import TypingNotifier, TypingTracker

HERE, THERE, YOU = "c" * 32, "d" * 32, "b" * 32


def test_typing_is_sent_at_most_every_3_seconds() -> None:
    keys = TypingNotifier()
    assert [keys.start_typing(HERE, now) for now in (0.0, 1.0, 2.9, 3.0, 4.0)] == [True, False, False, True, False]
    assert keys.start_typing(THERE, 4.0)
    assert keys.stop_typing(HERE, 5.0)
    assert not keys.stop_typing(HERE, 5.0)
    assert not keys.stop_typing(THERE, 10.0), "the notice has already expired for the others"
    assert keys.start_typing(HERE, 10.0)
    keys.message_sent(HERE)
    assert keys.start_typing(HERE, 10.5)


def test_typing_expires_without_renewal() -> None:
    typists = TypingTracker()
    assert typists.apply_notice(HERE, YOU, True, 0.0) == TypingChanged(HERE, YOU, True)
    assert typists.apply_notice(HERE, YOU, True, 3.0) is None
    assert typists.expire(8.9) == []
    assert typists.expire(9.0) == [TypingChanged(HERE, YOU, False)]
    assert typists.apply_notice(HERE, YOU, False, 9.0) is None

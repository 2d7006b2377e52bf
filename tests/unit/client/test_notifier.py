"""The messenger announces messages once in a while, and forges nothing with their texts."""

from __future__ import annotations

import pytest

from parley_client.messenger.notifier import QUIET_S, NotificationKind, Notifier


class Terminal:
    """The sequences that a notifier wrote, and a clock that the test sets."""

    def __init__(self, kind: NotificationKind) -> None:
        self.written: list[str] = []
        self.now = 1000.0
        self.notifier = Notifier(kind, self.written.append, lambda: self.now)


def test_burst_of_messages_rings_once_and_later_message_again() -> None:
    terminal = Terminal(NotificationKind.BELL)
    for number in range(100):
        terminal.notifier.announce("bob", f"news {number}")
    assert terminal.written == ["\a"]
    terminal.now += QUIET_S
    terminal.notifier.announce("bob", "more")
    assert terminal.written == ["\a", "\a"]


def test_notifications_that_are_off_write_nothing() -> None:
    terminal = Terminal(NotificationKind.OFF)
    terminal.notifier.announce("bob", "news")
    assert terminal.written == []


@pytest.mark.parametrize("text", ["a\x07b", "a\x1b\\\x1b[2Jb", "4;1;50", "a\nb", "a\x9cb", "\u202ea"])
def test_text_of_others_does_not_end_desktop_notification(text: str) -> None:
    terminal = Terminal(NotificationKind.DESKTOP)
    terminal.notifier.announce(text, text)
    [written] = terminal.written
    assert written.startswith("\x1b]9;Parley: ")
    assert written.endswith("\x1b\\")
    assert written.removeprefix("\x1b").removesuffix("\x1b\\").isprintable()

"""Notifications of new messages: a bell or a desktop notification of the terminal, never a storm of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from parley_client.cli.text import one_cell

# After a notification, further messages are not announced for this time.
QUIET_S = 5.0


class NotificationKind(StrEnum):
    """The way in which the messenger announces messages."""

    BELL = "bell"
    DESKTOP = "desktop"
    """OSC 9: iTerm2, kitty, WezTerm, Ghostty, foot and Windows Terminal show it; other terminals ignore it."""
    OFF = "off"


class Notifier:
    """Announces messages through `write`, which writes to the terminal."""

    def __init__(
        self, kind: NotificationKind, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kind = kind
        self._write = write
        self._clock = clock
        self._quiet_until = 0.0

    def announce(self, title: str, text: str) -> None:
        """Announce a message of a conversation, unless another one has just been announced."""
        if self._kind is NotificationKind.OFF or self._clock() < self._quiet_until:
            return
        self._quiet_until = self._clock() + QUIET_S
        if self._kind is NotificationKind.BELL:
            self._write("\a")
        else:
            # The constant beginning keeps a title of digits from being one of the other commands of OSC 9.
            self._write(f"\x1b]9;Parley: {one_cell(title)}: {one_cell(text)}\x1b\\")

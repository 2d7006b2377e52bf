"""Users for whom something came here though they are not here: if their home is another server, that one is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from servicekit.clock import Clock

PAUSE_S: Final = 0.2


class Strangers:
    """Asks after PAUSE_S, once for all that came meanwhile: who sent it by an old ring may send a lot."""

    def __init__(self, moved: Callable[[str], bool], recheck: Callable[[str], None], clock: Clock) -> None:
        self._moved = moved
        self._recheck = recheck
        self._clock = clock
        self._users: set[str] = set()

    def missed(self, user_id: str) -> None:
        """Something came for a user who is not here. By the ring of who sent it this is the home."""
        if not self._users:
            self._clock.call_later(PAUSE_S, self._look)
        self._users.add(user_id)

    def _look(self) -> None:
        users, self._users = self._users, set()
        for user_id in users:
            if self._moved(user_id):
                self._recheck(user_id)

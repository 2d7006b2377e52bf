"""Users for whom something came here though they are not here: if their home is another server, that one is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

PAUSE_S: Final = 0.2


class MisroutedDeliveries:
    """Asks after PAUSE_S, once for all that came meanwhile: who sent it by an old ring may send a lot."""

    def __init__(self, moved: Callable[[str], bool], recheck: Callable[[str], None]) -> None:
        self._moved = moved
        self._recheck = recheck
        self._users: set[str] = set()

    def record(self, user_id: str) -> None:
        """Something came for a user who is not here. By the ring of who sent it this is the home."""
        if not self._users:
            asyncio.get_running_loop().call_later(PAUSE_S, self._recheck_moved)
        self._users.add(user_id)

    def _recheck_moved(self) -> None:
        users, self._users = self._users, set()
        for user_id in users:
            if self._moved(user_id):
                self._recheck(user_id)

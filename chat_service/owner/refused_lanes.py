"""Which attempts of lanes were refused: nothing later of them is taken, so that nothing passes what was refused."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from chat_service.owner.pending import Lane

KEPT: Final = 10_000


class RefusedLanes:
    """Remembers KEPT of them, those that were refused last."""

    def __init__(self) -> None:
        self._attempts: OrderedDict[tuple[str, str], int] = OrderedDict()

    def refuse(self, lane: Lane, conversation_id: str) -> None:
        """From now on nothing of this attempt, or of an earlier one, is taken."""
        key = lane.session_id, conversation_id
        self._attempts[key] = max(lane.attempt, self._attempts.get(key, 0))
        self._attempts.move_to_end(key)
        if len(self._attempts) > KEPT:
            self._attempts.popitem(last=False)

    def cover(self, lane: Lane, conversation_id: str) -> bool:
        """Whether something before it in its attempt was refused."""
        return self._attempts.get((lane.session_id, conversation_id), -1) >= lane.attempt

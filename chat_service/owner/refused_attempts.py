"""Which attempts of edges were refused: nothing later of them is taken, so that nothing passes what was refused."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from chat_service.owner.pending import Attempt

MAX_FENCED: Final = 10_000


class FencedAttempts:
    """Remembers those of KEPT lanes: the ones that were refused last."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[tuple[str, str], int] = OrderedDict()

    def fence(self, attempt: Attempt, conversation_id: str) -> None:
        """From now on nothing of this attempt, or of an earlier one of its lane, is taken."""
        lane = attempt.session_id, conversation_id
        self._numbers[lane] = max(attempt.number, self._numbers.get(lane, 0))
        self._numbers.move_to_end(lane)
        if len(self._numbers) > MAX_FENCED:
            self._numbers.popitem(last=False)

    def is_fenced(self, attempt: Attempt, conversation_id: str) -> bool:
        """Whether something before it in its attempt was refused."""
        return self._numbers.get((attempt.session_id, conversation_id), -1) >= attempt.number

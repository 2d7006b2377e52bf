"""The decision which part of the presence of users a viewer may see."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from presence_service.model.ports import Directory, VisibilityStore
from presence_service.model.visibility import (
    DEFAULT_VISIBILITY,
    STRANGERS,
    Pair,
    Permission,
    permission_for,
)
from servicekit.batch_loader import BatchLoader

# Decisions that are made together, with one call of the directory: many watches begin when their presence server has
# died. The directory takes no more users in one call.
MAX_PAIRS: Final = 1000
# Twice the time limit of a call of the directory, and of the store.
DECISION_TIMEOUT_S: Final = 30.0


class Permissions:
    """Decides by the settings of both users and by the directory. Raises StoreUnavailable and ServiceUnavailable.

    Decisions that wait at the same time are made together, each by what is stored after it was asked for.
    """

    def __init__(self, settings: VisibilityStore, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._decisions = BatchLoader[Pair, Permission](self._decide, max_keys=MAX_PAIRS, timeout_s=DECISION_TIMEOUT_S)

    async def find_for_viewer(self, viewer_id: str, user_ids: Collection[str]) -> dict[str, Permission]:
        """Return what a viewer may see of each user."""
        found = await self._decisions.get([(viewer_id, user_id) for user_id in user_ids])
        return {user_id: permission for (_, user_id), permission in found.items()}

    async def find_for_viewers(self, user_id: str, viewer_ids: Collection[str]) -> dict[str, Permission]:
        """Return what each viewer may see of a user."""
        found = await self._decisions.get([(viewer_id, user_id) for viewer_id in viewer_ids])
        return {viewer_id: permission for (viewer_id, _), permission in found.items()}

    async def _decide(self, pairs: Collection[Pair]) -> dict[Pair, Permission]:
        """Return what each viewer may see of the other user."""
        settings = await self._settings.find_all({user_id for pair in pairs for user_id in pair})
        others = [pair for pair in pairs if pair[0] != pair[1]]
        relations = await self._directory.find_relations(others) if others else {}
        # One's own presence is never hidden from oneself.
        return dict.fromkeys(pairs, Permission.LAST_SEEN) | {
            (viewer_id, user_id): permission_for(
                settings.get(viewer_id, DEFAULT_VISIBILITY),
                settings.get(user_id, DEFAULT_VISIBILITY),
                relations.get((viewer_id, user_id), STRANGERS),
            )
            for viewer_id, user_id in others
        }

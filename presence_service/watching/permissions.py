"""The decision which part of the presence of users a viewer may see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from presence_service.model.ports import Directory, VisibilityStore
from presence_service.model.visibility import (
    DEFAULT_VISIBILITY,
    STRANGERS,
    Permission,
    Relation,
    Visibility,
    permission_for,
)

_FindRelations = Callable[[str, Collection[str]], Awaitable[dict[str, Relation]]]
_Decide = Callable[[Visibility, Visibility, Relation], Permission]


class Permissions:
    """Decides by the settings of both users and by the directory. Raises StoreUnavailable and ServiceUnavailable."""

    def __init__(self, settings: VisibilityStore, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory

    async def find_for_viewer(self, viewer_id: str, user_ids: Collection[str]) -> dict[str, Permission]:
        """Return what a viewer may see of each user."""
        return await self._find(viewer_id, user_ids, self._directory.find_relations, permission_for)

    async def find_for_viewers(self, user_id: str, viewer_ids: Collection[str]) -> dict[str, Permission]:
        """Return what each viewer may see of a user."""

        def decide(shown: Visibility, viewer: Visibility, relation: Relation) -> Permission:
            return permission_for(viewer, shown, relation)

        return await self._find(user_id, viewer_ids, self._directory.find_relations_to, decide)

    async def _find(
        self, user_id: str, other_ids: Collection[str], find_relations: _FindRelations, decide: _Decide
    ) -> dict[str, Permission]:
        """Return the permission between a user and each of the others, decided by the settings of both."""
        settings = await self._settings.find_all({user_id, *other_ids})
        others = [other_id for other_id in other_ids if other_id != user_id]
        relations = await find_relations(user_id, others) if others else {}
        own = settings.get(user_id, DEFAULT_VISIBILITY)
        permissions = {
            other_id: decide(own, settings.get(other_id, DEFAULT_VISIBILITY), relations.get(other_id, STRANGERS))
            for other_id in others
        }
        # One's own presence is never hidden from oneself.
        return permissions | ({user_id: Permission.LAST_SEEN} if user_id in other_ids else {})

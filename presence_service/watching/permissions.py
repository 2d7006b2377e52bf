"""The decision which part of the presence of users a viewer may see."""

from __future__ import annotations

from collections.abc import Collection

from presence_service.model.ports import Directory, VisibilityStore
from presence_service.model.visibility import DEFAULT_VISIBILITY, STRANGERS, Permission, permission_for


class Permissions:
    """Decides by the settings of both users and by the directory. Raises StoreUnavailable and ServiceUnavailable."""

    def __init__(self, settings: VisibilityStore, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory

    async def find_for_viewer(self, viewer_id: str, user_ids: Collection[str]) -> dict[str, Permission]:
        """Return what a viewer may see of each user."""
        settings = await self._settings.find_all({viewer_id, *user_ids})
        others = [user_id for user_id in user_ids if user_id != viewer_id]
        relations = await self._directory.find_relations(viewer_id, others) if others else {}
        own = settings.get(viewer_id, DEFAULT_VISIBILITY)
        permissions = {
            user_id: permission_for(own, settings.get(user_id, DEFAULT_VISIBILITY), relations.get(user_id, STRANGERS))
            for user_id in others
        }
        # One's own presence is never hidden from oneself.
        return permissions | ({viewer_id: Permission.LAST_SEEN} if viewer_id in user_ids else {})

    async def find_for_viewers(self, user_id: str, viewer_ids: Collection[str]) -> dict[str, Permission]:
        """Return what each viewer may see of a user."""
        settings = await self._settings.find_all({user_id, *viewer_ids})
        others = [viewer_id for viewer_id in viewer_ids if viewer_id != user_id]
        relations = await self._directory.find_relations_to(user_id, others) if others else {}
        shown = settings.get(user_id, DEFAULT_VISIBILITY)
        permissions = {
            viewer_id: permission_for(
                settings.get(viewer_id, DEFAULT_VISIBILITY), shown, relations.get(viewer_id, STRANGERS)
            )
            for viewer_id in others
        }
        return permissions | ({user_id: Permission.LAST_SEEN} if user_id in viewer_ids else {})

"""The client of the directory of chat."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from parley.internal.v1 import directory_pb2
from parley.internal.v1.directory_pb2_grpc import DirectoryServiceStub
from presence_service.model.visibility import Relation
from servicekit.client import ServiceChannel

# A chat server waits for its store for this long.
DIRECTORY_TIMEOUT_S: Final = 12.0
# The most users of one GetRelations.
USERS_PER_CALL: Final = 1000


class DirectoryClient:
    """Implements Directory by calls to chat servers."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._stub = channel.stub(DirectoryServiceStub)

    async def find_relations(self, viewer_id: str, user_ids: Collection[str]) -> dict[str, Relation]:
        """See Directory."""
        found = await self._get_relations(viewer_id, user_ids)
        return {each.other_user_id: Relation(each.acquainted_by, each.blocks or each.blocked_by) for each in found}

    async def find_relations_to(self, user_id: str, viewer_ids: Collection[str]) -> dict[str, Relation]:
        """See Directory."""
        found = await self._get_relations(user_id, viewer_ids)
        return {each.other_user_id: Relation(each.acquainted, each.blocks or each.blocked_by) for each in found}

    async def is_signed_in(self, user_id: str, device_id: str) -> bool:
        """Return whether a device of a user is signed in."""
        request = directory_pb2.CheckDevicesRequest(user_id=user_id, device_ids=[device_id])
        response = await self._stub.CheckDevices(request, timeout=DIRECTORY_TIMEOUT_S)
        return device_id in response.active_device_ids

    async def _get_relations(self, user_id: str, other_ids: Collection[str]) -> list[directory_pb2.Relation]:
        ids, relations = list(other_ids), list[directory_pb2.Relation]()
        for start in range(0, len(ids), USERS_PER_CALL):
            request = directory_pb2.GetRelationsRequest(
                user_id=user_id, other_user_ids=ids[start : start + USERS_PER_CALL]
            )
            response = await self._stub.GetRelations(request, timeout=DIRECTORY_TIMEOUT_S)
            relations += response.relations
        return relations

"""The client of the directory of chat."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from parley.internal.v1 import directory_pb2
from parley.internal.v1.directory_pb2_grpc import DirectoryServiceStub
from presence_service.model.visibility import Pair, Relation
from servicekit.client import ServiceChannel

# A chat server waits for its store for this long.
DIRECTORY_TIMEOUT_S: Final = 12.0


class DirectoryClient:
    """Implements Directory by calls to chat servers."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._stub = channel.stub(DirectoryServiceStub)

    async def find_relations(self, pairs: Collection[Pair]) -> dict[Pair, Relation]:
        """See Directory."""
        users_of = dict[str, list[str]]()
        for viewer_id, user_id in pairs:
            users_of.setdefault(viewer_id, []).append(user_id)
        requests = [
            directory_pb2.GetRelationsRequest(user_id=viewer_id, other_user_ids=user_ids)
            for viewer_id, user_ids in users_of.items()
        ]
        request = directory_pb2.BatchGetRelationsRequest(requests=requests)
        response = await self._stub.BatchGetRelations(request, timeout=DIRECTORY_TIMEOUT_S)
        return {
            (viewer_id, each.other_user_id): Relation(each.acquainted_by, each.blocks or each.blocked_by)
            for viewer_id, found in zip(users_of, response.responses, strict=True)
            for each in found.relations
        }

    async def is_signed_in(self, user_id: str, device_id: str) -> bool:
        """Return whether a device of a user is signed in."""
        request = directory_pb2.CheckDevicesRequest(user_id=user_id, device_ids=[device_id])
        response = await self._stub.CheckDevices(request, timeout=DIRECTORY_TIMEOUT_S)
        return device_id in response.active_device_ids

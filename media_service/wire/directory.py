"""The client of the directory of chat."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from parley.internal.v1 import directory_pb2
from parley.internal.v1.directory_pb2_grpc import DirectoryServiceStub
from servicekit.client import ServiceChannel

# A chat server waits for its store for this long, and checks access for up to 10 s.
DIRECTORY_TIMEOUT_S: Final = 12.0
# The most files of one ListMediaReferences.
FILES_PER_CALL: Final = 1000


class DirectoryClient:
    """Implements Directory by calls to chat servers."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._stub = channel.stub(DirectoryServiceStub)

    async def is_allowed(self, user_id: str, media_id: str) -> bool:
        """See Directory."""
        request = directory_pb2.CheckMediaAccessRequest(user_id=user_id, media_id=media_id)
        response = await self._stub.CheckMediaAccess(request, timeout=DIRECTORY_TIMEOUT_S)
        return bool(response.allowed)

    async def filter_referenced(self, media_ids: Collection[str]) -> set[str]:
        """See Directory."""
        ids, referenced = list(media_ids), set[str]()
        for start in range(0, len(ids), FILES_PER_CALL):
            request = directory_pb2.ListMediaReferencesRequest(media_ids=ids[start : start + FILES_PER_CALL])
            response = await self._stub.ListMediaReferences(request, timeout=DIRECTORY_TIMEOUT_S)
            referenced.update(response.referenced_media_ids)
        return referenced

    async def is_signed_in(self, user_id: str, device_id: str) -> bool:
        """See Directory."""
        request = directory_pb2.CheckDevicesRequest(user_id=user_id, device_ids=[device_id])
        response = await self._stub.CheckDevices(request, timeout=DIRECTORY_TIMEOUT_S)
        return device_id in response.active_device_ids

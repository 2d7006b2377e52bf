"""The client of PersonalDataService: what other services keep about users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from parley.internal.v1.personal_data_pb2 import EraseUserRequest, ExportUserRequest, PersonalFile
from parley.internal.v1.personal_data_pb2_grpc import PersonalDataServiceStub

# An outage of the store of the other service is reported as such.
TIMEOUT_S: Final = 12.0


class PersonalDataClient:
    """Exports and erases what these services keep. Every call raises StoreUnavailable and ServiceUnavailable."""

    def __init__(self, services: Sequence[PersonalDataServiceStub]) -> None:
        self._services = services

    async def export_user(self, user_id: str) -> list[PersonalFile]:
        """Return what the services keep about a user, as files of the archive of the account."""
        files = list[PersonalFile]()
        for service in self._services:
            files += (await service.ExportUser(ExportUserRequest(user_id=user_id), timeout=TIMEOUT_S)).files
        return files

    async def erase_user(self, user_id: str) -> None:
        """Erase what the services keep about a user. Idempotent."""
        for service in self._services:
            await service.EraseUser(EraseUserRequest(user_id=user_id), timeout=TIMEOUT_S)

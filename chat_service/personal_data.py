"""The client of PersonalDataService: what other services keep about users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from parley.internal.v1.personal_data_pb2 import EraseDeviceRequest, EraseUserRequest, ExportUserRequest, PersonalFile
from parley.internal.v1.personal_data_pb2_grpc import PersonalDataServiceStub
from servicekit.failure import Failure

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

    async def erase_device(self, user_id: str, device_id: str) -> None:
        """Erase what the services keep about a device that was signed out, at all that can be reached.

        Idempotent. Raise the Failure of the last one that did not.
        """
        failed: Failure | None = None
        for service in self._services:
            try:
                await service.EraseDevice(EraseDeviceRequest(user_id=user_id, device_id=device_id), timeout=TIMEOUT_S)
            except Failure as failure:
                failed = failure
        if failed is not None:
            raise failed

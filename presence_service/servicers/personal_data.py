"""PersonalDataService: what presence keeps about a user, for the export and the deletion of the account."""

from __future__ import annotations

import json

from google.protobuf.json_format import MessageToDict

from parley.internal.v1 import personal_data_pb2
from presence_service.model.ports import LastSeenStore, PresenceStore, VisibilityStore
from presence_service.model.visibility import DEFAULT_VISIBILITY
from presence_service.watching.channels import PublishPermissions
from presence_service.wire.presence import encode_visibility, seen_time
from servicekit.rpc import Call


class PersonalDataServicer:
    """Exports and erases the settings and the last-seen time of a user."""

    def __init__(
        self,
        store: PresenceStore,
        last_seen: LastSeenStore,
        settings: VisibilityStore,
        publish_permissions: PublishPermissions,
    ) -> None:
        self._store = store
        self._last_seen = last_seen
        self._settings = settings
        self._publish_permissions = publish_permissions

    async def ExportUser(
        self, request: personal_data_pb2.ExportUserRequest, call: Call
    ) -> personal_data_pb2.ExportUserResponse:
        """Return `presence.json`: who may see the user's presence, and when the user was last online."""
        del call
        user_id = request.user_id
        settings = (await self._settings.find_all([user_id])).get(user_id, DEFAULT_VISIBILITY)
        stored_ms = (await self._last_seen.find_all([user_id])).get(user_id, 0)
        seen_ms = max(stored_ms, (await self._store.find_all([user_id]))[user_id].seen_ms)
        export = {
            "visibility": MessageToDict(encode_visibility(settings), preserving_proto_field_name=True),
            "last_seen_time": seen_time(seen_ms).ToJsonString() if seen_ms else None,
        }
        file = personal_data_pb2.PersonalFile(name="presence.json", content=json.dumps(export, indent=2).encode())
        return personal_data_pb2.ExportUserResponse(files=[file])

    async def EraseUser(
        self, request: personal_data_pb2.EraseUserRequest, call: Call
    ) -> personal_data_pb2.EraseUserResponse:
        """Erase the settings and the last-seen time of a user."""
        del call
        await self._settings.delete(request.user_id)
        await self._last_seen.delete(request.user_id)
        await self._store.delete(request.user_id)
        await self._publish_permissions(request.user_id, "")
        return personal_data_pb2.EraseUserResponse()

    async def EraseDevice(
        self, request: personal_data_pb2.EraseDeviceRequest, call: Call
    ) -> personal_data_pb2.EraseDeviceResponse:
        """Do nothing: presence keeps nothing about a device once its streams have ended."""
        del request, call
        return personal_data_pb2.EraseDeviceResponse()

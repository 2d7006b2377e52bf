"""PersonalDataService: what notify keeps about a user, for the export and the deletion of the account."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from notify_service.model.ports import PreferencesStore, PushedEntryStore, PushQueue, TokenStore, TraceStore
from notify_service.model.preferences import DEFAULT_PREFERENCES
from notify_service.wire.notify import encode_decisions, encode_preferences, encode_registration
from parley.internal.v1 import personal_data_pb2
from servicekit.rpc import Call


class PersonalDataServicer:
    """Exports and erases tokens, preferences and decisions."""

    def __init__(
        self,
        tokens: TokenStore,
        preferences: PreferencesStore,
        pushed_entries: PushedEntryStore,
        traces: TraceStore,
        queue: PushQueue,
    ) -> None:
        self._tokens = tokens
        self._preferences = preferences
        self._pushed_entries = pushed_entries
        self._traces = traces
        self._queue = queue

    async def ExportUser(
        self, request: personal_data_pb2.ExportUserRequest, call: Call
    ) -> personal_data_pb2.ExportUserResponse:
        """Return `notifications.json`: the preferences, the registrations without their tokens, the last decisions."""
        del call
        user_id = request.user_id
        preferences = (await self._preferences.find_all([user_id])).get(user_id, DEFAULT_PREFERENCES)
        registrations = (await self._tokens.find_all([user_id])).get(user_id, [])
        export = {
            "preferences": _to_dict(encode_preferences(preferences)),
            "push_tokens": [_to_dict(encode_registration(each)) for each in registrations],
            "push_decisions": [_to_dict(each) for each in encode_decisions(await self._traces.find(user_id))],
        }
        content = json.dumps(export, indent=2).encode()
        file = personal_data_pb2.PersonalFile(name="notifications.json", content=content)
        return personal_data_pb2.ExportUserResponse(files=[file])

    async def EraseUser(
        self, request: personal_data_pb2.EraseUserRequest, call: Call
    ) -> personal_data_pb2.EraseUserResponse:
        """Erase everything about a user; events and jobs that still wait then find no token."""
        del call
        await self._tokens.delete_user(request.user_id)
        await self._preferences.delete(request.user_id)
        await self._pushed_entries.delete(request.user_id)
        await self._traces.delete(request.user_id)
        await self._queue.delete_dead_letters_of(request.user_id)
        return personal_data_pb2.EraseUserResponse()

    async def EraseDevice(
        self, request: personal_data_pb2.EraseDeviceRequest, call: Call
    ) -> personal_data_pb2.EraseDeviceResponse:
        """Erase the push token of a device that was signed out."""
        del call
        await self._tokens.delete_device(request.user_id, request.device_id)
        return personal_data_pb2.EraseDeviceResponse()


def _to_dict(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)

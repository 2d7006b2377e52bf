"""The calls of ConversationService that concern only the caller's own view."""

from __future__ import annotations

from chat_service.errors import Invalid
from chat_service.servicers.roles import Dependencies
from parley.chat.v1 import conversation_pb2
from servicekit.failure import Violation
from servicekit.rpc import Call


class PersonalCalls:
    """The caller's other devices are told; nobody else is."""

    def __init__(self, roles: Dependencies) -> None:
        self._personal = roles.personal

    async def SetMute(self, request: conversation_pb2.SetMuteRequest, call: Call) -> conversation_pb2.SetMuteResponse:
        """Silences pushes of a conversation, or not."""
        try:
            until_ms = request.mute_until_time.ToMilliseconds() if request.HasField("mute_until_time") else 0
        except ValueError:
            raise Invalid(
                "no such time", violations=(Violation("mute_until_time", "must be between the years 1 and 9999"),)
            ) from None
        await self._personal.mute(call.caller.user_id, request.conversation_id, until_ms)
        return conversation_pb2.SetMuteResponse()

    async def SetPinned(
        self, request: conversation_pb2.SetPinnedRequest, call: Call
    ) -> conversation_pb2.SetPinnedResponse:
        """Keeps a conversation at the top of the list, or not."""
        await self._personal.pin(call.caller.user_id, request.conversation_id, request.pinned)
        return conversation_pb2.SetPinnedResponse()

    async def SetArchived(
        self, request: conversation_pb2.SetArchivedRequest, call: Call
    ) -> conversation_pb2.SetArchivedResponse:
        """Puts a conversation out of the main list, or back."""
        await self._personal.archive(call.caller.user_id, request.conversation_id, request.archived)
        return conversation_pb2.SetArchivedResponse()

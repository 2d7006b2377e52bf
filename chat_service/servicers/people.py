"""The calls of AccountService about what users find out about each other, and let each other do."""

from __future__ import annotations

from typing import Final

from chat_service.accounts.blocking import BlockService
from chat_service.accounts.people import ProfileService
from chat_service.wire.account import (
    change_from_proto,
    page_to_proto,
    privacy_change_from_proto,
    privacy_to_proto,
    profile_to_proto,
)
from chat_service.wire.conversations import ID_PATTERN, decode_page_token, encode_page_token
from parley.chat.v1 import account_pb2
from servicekit.rpc import Call

BLOCKED_PAGE: Final = 50
BLOCKED: Final = "blocked"


class PeopleCalls:
    """Profiles, privacy and blocks."""

    def __init__(self, people: ProfileService, blocking: BlockService) -> None:
        self._people = people
        self._blocking = blocking

    async def GetProfile(self, request: account_pb2.GetProfileRequest, call: Call) -> account_pb2.GetProfileResponse:
        """Gives the profile of a user, or the caller's own."""
        profile = await self._people.get_profile(request.user_id or call.caller.user_id)
        return account_pb2.GetProfileResponse(profile=profile_to_proto(profile))

    async def UpdateProfile(
        self, request: account_pb2.UpdateProfileRequest, call: Call
    ) -> account_pb2.UpdateProfileResponse:
        """Changes the caller's profile."""
        change = change_from_proto(request)
        profile = await self._people.update_profile(call.caller.user_id, change)
        return account_pb2.UpdateProfileResponse(profile=profile_to_proto(profile))

    async def SearchUsers(self, request: account_pb2.SearchUsersRequest, _: Call) -> account_pb2.SearchUsersResponse:
        """Finds users by the beginning of a name."""
        page = await self._people.search_profiles(request.query, request.page_size, request.page_token)
        return page_to_proto(page)

    async def GetPrivacy(self, _: account_pb2.GetPrivacyRequest, call: Call) -> account_pb2.GetPrivacyResponse:
        """Gives what the caller lets others do."""
        privacy = await self._people.get_privacy(call.caller.user_id)
        return account_pb2.GetPrivacyResponse(privacy=privacy_to_proto(privacy))

    async def UpdatePrivacy(
        self, request: account_pb2.UpdatePrivacyRequest, call: Call
    ) -> account_pb2.UpdatePrivacyResponse:
        """Changes what the caller lets others do."""
        change = privacy_change_from_proto(request)
        privacy = await self._people.update_privacy(call.caller.user_id, change)
        return account_pb2.UpdatePrivacyResponse(privacy=privacy_to_proto(privacy))

    async def BlockUser(self, request: account_pb2.BlockUserRequest, call: Call) -> account_pb2.BlockUserResponse:
        """Bars a user from the caller."""
        await self._blocking.block(call.caller.user_id, request.user_id)
        return account_pb2.BlockUserResponse()

    async def UnblockUser(self, request: account_pb2.UnblockUserRequest, call: Call) -> account_pb2.UnblockUserResponse:
        """Takes a block back."""
        await self._blocking.unblock(call.caller.user_id, request.user_id)
        return account_pb2.UnblockUserResponse()

    async def ListBlocked(self, request: account_pb2.ListBlockedRequest, call: Call) -> account_pb2.ListBlockedResponse:
        """Whom the caller has blocked."""
        size = request.page_size or BLOCKED_PAGE
        after = decode_page_token(BLOCKED, request.page_token, ID_PATTERN)
        found = await self._blocking.list_blocked(call.caller.user_id, after, size + 1)
        return account_pb2.ListBlockedResponse(
            user_ids=found[:size],
            next_page_token=encode_page_token(BLOCKED, found[size - 1]) if len(found) > size else "",
        )

"""NotifyService: push tokens and preferences, for clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from notify_service.model.ports import PreferencesStore, TokenStore
from notify_service.model.preferences import DEFAULT_PREFERENCES
from notify_service.model.registration import Registration
from notify_service.provider_setup import ProviderSet
from notify_service.servicers.decisions import DecisionReader
from notify_service.servicers.trial import TrialPushes
from notify_service.wire.notify import (
    decode_change,
    decode_token,
    encode_decisions,
    encode_preferences,
    encode_registration,
)
from parley.notify.v1 import notify_pb2
from servicekit.clock import Clock
from servicekit.errors import Disabled, RateLimited
from servicekit.page_tokens import ID_POSITION, decode_page_token, next_page_token
from servicekit.rate_limiter import MAX_DEVICES, RateLimit, RateLimiter
from servicekit.rpc import Call

DEFAULT_LANGUAGE: Final = "en"
DEFAULT_PAGE: Final = 50
TEST_LIMIT: Final = RateLimit(0.1, 5)


@dataclass(frozen=True, slots=True)
class NotifyDependencies:
    """The dependencies of the calls of clients."""

    tokens: TokenStore
    preferences: PreferencesStore
    decisions: DecisionReader
    providers: ProviderSet
    trial: TrialPushes
    clock: Clock


class NotifyServicer:
    """Serves the push tokens and preferences of users."""

    def __init__(self, dependencies: NotifyDependencies) -> None:
        self._tokens = dependencies.tokens
        self._preferences = dependencies.preferences
        self._decisions = dependencies.decisions
        self._providers = dependencies.providers
        self._trial = dependencies.trial
        self._clock = dependencies.clock
        self._tests = RateLimiter(TEST_LIMIT, dependencies.clock, MAX_DEVICES)

    async def RegisterPushToken(
        self, request: notify_pb2.RegisterPushTokenRequest, call: Call
    ) -> notify_pb2.RegisterPushTokenResponse:
        """Register the push token of the caller's device."""
        token = decode_token(request)
        self._providers.require_accepted(token)
        caller, now_ms = call.caller, self._clock.now_ms()
        language = request.language or DEFAULT_LANGUAGE
        registration = Registration(caller.user_id, caller.device_id, token, language, now_ms)
        await self._tokens.put(registration)
        return notify_pb2.RegisterPushTokenResponse(push_token=encode_registration(registration))

    async def UnregisterPushToken(
        self, request: notify_pb2.UnregisterPushTokenRequest, call: Call
    ) -> notify_pb2.UnregisterPushTokenResponse:
        """Remove the push token of one of the caller's devices."""
        await self._tokens.delete_device(call.caller.user_id, request.device_id or call.caller.device_id)
        return notify_pb2.UnregisterPushTokenResponse()

    async def ListPushTokens(
        self, request: notify_pb2.ListPushTokensRequest, call: Call
    ) -> notify_pb2.ListPushTokensResponse:
        """Return the registrations of the caller's devices, newest first."""
        size, after = request.page_size or DEFAULT_PAGE, decode_page_token(request, ID_POSITION)
        found = (await self._tokens.find_all([call.caller.user_id])).get(call.caller.user_id, [])
        rest = _after(sorted(found, key=lambda each: (-each.register_ms, each.device_id)), after)
        return notify_pb2.ListPushTokensResponse(
            push_tokens=map(encode_registration, rest[:size]),
            next_page_token=next_page_token(request, rest, size, lambda each: each.device_id),
        )

    async def GetPreferences(
        self, request: notify_pb2.GetPreferencesRequest, call: Call
    ) -> notify_pb2.GetPreferencesResponse:
        """Return the caller's preferences."""
        del request
        found = (await self._preferences.find_all([call.caller.user_id])).get(call.caller.user_id, DEFAULT_PREFERENCES)
        return notify_pb2.GetPreferencesResponse(preferences=encode_preferences(found))

    async def SetPreferences(
        self, request: notify_pb2.SetPreferencesRequest, call: Call
    ) -> notify_pb2.SetPreferencesResponse:
        """Change the caller's preferences."""
        preferences = await self._preferences.change(call.caller.user_id, decode_change(request.preferences))
        return notify_pb2.SetPreferencesResponse(preferences=encode_preferences(preferences))

    async def ListPushDecisions(
        self, request: notify_pb2.ListPushDecisionsRequest, call: Call
    ) -> notify_pb2.ListPushDecisionsResponse:
        """Return the last decisions about pushes to the caller."""
        del request
        decisions = await self._decisions.read(call.caller.user_id)
        return notify_pb2.ListPushDecisionsResponse(decisions=encode_decisions(decisions))

    async def SendTestPush(
        self, request: notify_pb2.SendTestPushRequest, call: Call
    ) -> notify_pb2.SendTestPushResponse:
        """Send a notification to devices of the caller now."""
        if (wait := self._tests.take(call.caller.device_id)) > 0:
            raise RateLimited("test push rate limit exceeded", retry_after=wait)
        results = await self._trial.send(call.caller.user_id, request.device_id)
        return notify_pb2.SendTestPushResponse(results=results)

    async def GetWebPushKey(
        self, request: notify_pb2.GetWebPushKeyRequest, call: Call
    ) -> notify_pb2.GetWebPushKeyResponse:
        """Return the key with which browsers subscribe to Web Push."""
        del request, call
        if not self._providers.web_push_key:
            raise Disabled("this deployment does not use Web Push")
        return notify_pb2.GetWebPushKeyResponse(application_server_key=self._providers.web_push_key)


def _after(registrations: Sequence[Registration], device_id: str) -> Sequence[Registration]:
    """Return the registrations after that of a device; all if there is none of that device any more."""
    for index, each in enumerate(registrations):
        if each.device_id == device_id:
            return registrations[index + 1 :]
    return registrations

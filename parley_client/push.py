"""Push: the push tokens of the user's devices, the user's preferences, and why something was pushed or was not."""

from __future__ import annotations

from parley.notify.v1 import notify_pb2
from parley_client.calls import AuthenticatedCalls
from parley_client.push_decisions import PushDecision, PushTestResult
from parley_client.push_preferences import NotificationPreferences
from parley_client.push_tokens import DeviceToken, PushToken, registration_request

# A provider that does not answer is given up within this time; the gateway ends calls after 30 s.
TEST_TIMEOUT_S = 30.0


class Push:
    """Push notifications of the signed-in user. Every method raises ParleyError.

    A message is pushed to every device with a token of a user none of whose devices is in the foreground: see
    `Device.set_foreground`. To mute one conversation use `Conversations.mute`.
    """

    def __init__(self, calls: AuthenticatedCalls) -> None:
        self._calls = calls

    async def register_token(self, token: DeviceToken, *, language: str = "") -> PushToken:
        """Register the token of this device, in place of its previous one; apps do so at every start.

        `language` is that of notifications, a BCP 47 tag such as "pt-BR"; empty: the deployment's default. Raises
        NotAllowed if the deployment does not use the provider, and InvalidRequest if it refuses the token, for example
        because it requires an encryption key.
        """
        request = registration_request(token, language)
        response = await self._calls.call(lambda channel: channel.notify.RegisterPushToken, request)
        return PushToken.from_proto(response.push_token)

    async def unregister_token(self, device_id: str = "") -> None:
        """Remove the token of one of the user's devices, if it has one; an empty id means this device.

        Signing a device out removes its token as well.
        """
        request = notify_pb2.UnregisterPushTokenRequest(device_id=device_id)
        await self._calls.call(lambda channel: channel.notify.UnregisterPushToken, request)

    async def list_tokens(self) -> list[PushToken]:
        """Return the registrations of the user's devices, the newest first."""
        request, found = notify_pb2.ListPushTokensRequest(page_size=100), list[PushToken]()
        while True:
            response = await self._calls.call(lambda channel: channel.notify.ListPushTokens, request)
            found += map(PushToken.from_proto, response.push_tokens)
            if not response.next_page_token:
                return found
            request.page_token = response.next_page_token

    async def get_preferences(self) -> NotificationPreferences:
        """Return the user's notification preferences."""
        request = notify_pb2.GetPreferencesRequest()
        response = await self._calls.call(lambda channel: channel.notify.GetPreferences, request)
        return NotificationPreferences.from_proto(response.preferences)

    async def set_preferences(self, preferences: NotificationPreferences) -> NotificationPreferences:
        """Replace the user's notification preferences, and return those in force.

        Change a part of them with `dataclasses.replace(await push.get_preferences(), scope=…)`. Raises InvalidRequest
        if there is no such time zone.
        """
        request = notify_pb2.SetPreferencesRequest(preferences=preferences.to_proto())
        response = await self._calls.call(lambda channel: channel.notify.SetPreferences, request)
        return NotificationPreferences.from_proto(response.preferences)

    async def list_decisions(self) -> list[PushDecision]:
        """Return the last decisions about pushes to the user, the newest first: at most 20, of the last 7 days.

        Of the messages that arrived while a device of the user was in the foreground, only the last is among them, for
        as long as a device is connected.
        """
        request = notify_pb2.ListPushDecisionsRequest()
        response = await self._calls.call(lambda channel: channel.notify.ListPushDecisions, request)
        return [PushDecision.from_proto(each) for each in response.decisions]

    async def send_test(self, device_id: str = "") -> list[PushTestResult]:
        """Send a notification now, whatever the preferences say; return one result for each device with a token.

        An empty id means all devices of the user. Raises TryLater beyond 5 calls, then one in 10 seconds. If the
        connection is lost, the call is not repeated.
        """
        request = notify_pb2.SendTestPushRequest(device_id=device_id)
        response = await self._calls.call(
            lambda channel: channel.notify.SendTestPush, request, TEST_TIMEOUT_S, idempotent=False
        )
        return [PushTestResult.from_proto(each) for each in response.results]

    async def get_web_push_key(self) -> bytes:
        """Return the key with which a browser subscribes, its `applicationServerKey`: 65 bytes.

        Raises NotAllowed if the deployment does not use Web Push.
        """
        request = notify_pb2.GetWebPushKeyRequest()
        response = await self._calls.call(lambda channel: channel.notify.GetWebPushKey, request)
        return response.application_server_key

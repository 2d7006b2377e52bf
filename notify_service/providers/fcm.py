"""The provider of pushes to Firebase Cloud Messaging, over its HTTP v1 API."""

from __future__ import annotations

from typing import Any, Final

import structlog

from notify_service.model.push import (
    CredentialsRefused,
    FcmToken,
    Outcome,
    Push,
    Rejected,
    RetryLater,
    Withdrawal,
)
from notify_service.providers.client import PushAnswer, PushClient
from notify_service.providers.connections import ProviderUnreachable
from notify_service.providers.content import encode_json
from notify_service.providers.fcm_message import fcm_message
from notify_service.providers.fcm_outcomes import fcm_outcome
from notify_service.providers.service_account import AccessTokens, AccountRefused, ServiceAccount
from servicekit.clock import Clock
from servicekit.config import ConfigurationError

FCM_URL: Final = "https://fcm.googleapis.com"

_UNAUTHENTICATED: Final = 401
# FCM accepts the access token, and what the project has for Apple or Web Push is refused.
_APPLE_REFUSED: Final = CredentialsRefused("THIRD_PARTY_AUTH_ERROR")

_log = structlog.get_logger("notify.fcm")


class FcmProvider:
    """A PushProvider for the devices of the Firebase project of a service account."""

    def __init__(self, client: PushClient, account: ServiceAccount, clock: Clock, *, url: str = FCM_URL) -> None:
        self._client = client
        self._account = account
        self._clock = clock
        self._tokens = AccessTokens(client, account, clock)
        self._url = f"{url}/v1/projects/{account.project_id}/messages:send"

    async def check(self) -> None:
        """Raise ConfigurationError if Google refuses the account, or it may not send messages of its project.

        FCM only validates the message of the check, to a device that does not exist.
        """
        probe = {"validate_only": True, "message": fcm_message(FcmToken("probe"), Withdrawal("probe", "probe", 0), 0)}
        outcome = await self._deliver(probe)
        if isinstance(outcome, CredentialsRefused) or outcome == Rejected("NOT_FOUND"):
            raise ConfigurationError(
                f"Google refuses the service account {self._account.email} ({outcome.reason}). Check that its key "
                "exists, that it may send messages of the project "
                f"{self._account.project_id} (the role “Firebase Cloud Messaging API Admin”), that the project has the "
                "Firebase Cloud Messaging API enabled, and the clock of this machine."
            )
        if isinstance(outcome, RetryLater):
            _log.warning("FCM did not answer the check", reason=outcome.reason)

    async def send(self, token: FcmToken, push: Push) -> Outcome:
        """Send a push once; again with a new access token if FCM refuses the present one."""
        try:
            message = fcm_message(token, push, self._clock.now_ms())
        except ValueError:
            return Rejected("the encryption key of the device is not valid")
        return await self._deliver({"message": message})

    async def _deliver(self, request: dict[str, Any]) -> Outcome:
        body = encode_json(request)
        try:
            answer, access_token = await self._post(body)
            outcome = fcm_outcome(answer)
            if answer.status == _UNAUTHENTICATED and outcome != _APPLE_REFUSED:
                self._tokens.discard(access_token)
                outcome = fcm_outcome((await self._post(body))[0])
        except ProviderUnreachable as error:
            return RetryLater(str(error))
        except AccountRefused as error:
            return CredentialsRefused(str(error))
        return outcome

    async def _post(self, body: bytes) -> tuple[PushAnswer, str]:
        access_token = await self._tokens.current()
        headers = {"authorization": f"Bearer {access_token}", "content-type": "application/json; charset=UTF-8"}
        return await self._client.post(self._url, headers, body), access_token

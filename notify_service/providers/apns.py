"""The provider of pushes to Apple's devices: the Apple Push Notification service, with provider tokens."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import structlog

from notify_service.model.push import (
    ApnsEnvironment,
    ApnsToken,
    CredentialsRefused,
    Outcome,
    Push,
    Rejected,
    RetryLater,
    Withdrawal,
)
from notify_service.providers.apns_outcomes import apns_outcome
from notify_service.providers.apns_payload import apns_headers, apns_payload
from notify_service.providers.apns_token import ApnsKey, ApnsProviderToken
from notify_service.providers.client import PushAnswer, PushClient
from notify_service.providers.connections import ProviderUnreachable
from servicekit.clock import Clock
from servicekit.config import ConfigurationError

PRODUCTION_URL: Final = "https://api.push.apple.com"
SANDBOX_URL: Final = "https://api.sandbox.push.apple.com"

# A device that does not exist: Apple checks the provider token and the topic before it refuses it.
_NO_DEVICE: Final = "00" * 32

_log = structlog.get_logger("notify.apns")


class ApnsProvider:
    """A PushProvider for the apps with one of `topics`, the bundle ids; tokens of other apps are rejected.

    Raise ConfigurationError without a topic.
    """

    def __init__(
        self,
        client: PushClient,
        key: ApnsKey,
        topics: Collection[str],
        clock: Clock,
        *,
        production_url: str = PRODUCTION_URL,
        sandbox_url: str = SANDBOX_URL,
    ) -> None:
        if not topics:
            raise ConfigurationError(
                "APNs needs the bundle ids of the apps that may receive pushes; name at least one."
            )
        self._client = client
        self._topics = tuple(topics)
        self._clock = clock
        self._urls = {ApnsEnvironment.PRODUCTION: production_url, ApnsEnvironment.SANDBOX: sandbox_url}
        self._token = ApnsProviderToken(key, clock)

    def serves(self, topic: str) -> bool:
        """Return True if the app may receive pushes."""
        return topic in self._topics

    async def check(self) -> None:
        """Raise ConfigurationError if Apple refuses the key, or the key may not be used for the first topic."""
        probe = ApnsToken(_NO_DEVICE, self._topics[0])
        outcome = await self.send(probe, Withdrawal("probe", "probe", 0, lifetime_s=0))
        match outcome:
            case CredentialsRefused(reason):
                raise ConfigurationError(
                    f"APNs refuses the key ({reason}). Check the .p8 file, the key id, the team id, the environment "
                    "that the key is for, and the clock of this machine."
                )
            case Rejected(reason) if reason in ("BadTopic", "TopicDisallowed"):
                raise ConfigurationError(
                    f"APNs refuses the bundle id {probe.topic} ({reason}). "
                    "Name bundle ids that the key may be used for."
                )
            case RetryLater(reason):
                _log.warning("APNs did not answer the check", reason=reason)

    async def send(self, token: ApnsToken, push: Push) -> Outcome:
        """Send a push once; again with a new provider token if Apple calls the present one expired."""
        if not self.serves(token.topic):
            return Rejected("this deployment does not serve the app")
        try:
            payload = apns_payload(token, push)
        except ValueError:
            return Rejected("the encryption key of the device is not valid")
        try:
            answer = await self._post(token, push, payload)
        except ProviderUnreachable as error:
            return RetryLater(str(error))
        return apns_outcome(answer)

    async def _post(self, token: ApnsToken, push: Push, payload: bytes) -> PushAnswer:
        url = f"{self._urls[token.environment]}/3/device/{token.token}"
        headers = apns_headers(token, push, self._clock.now_ms())
        used = self._token.current()
        answer = await self._client.post(url, headers | {"authorization": f"bearer {used}"}, payload)
        if answer.document().get("reason") != "ExpiredProviderToken" or not self._token.renew(used):
            return answer
        renewed = self._token.current()
        return await self._client.post(url, headers | {"authorization": f"bearer {renewed}"}, payload)

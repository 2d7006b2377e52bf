"""The provider of pushes to browsers, and to apps with UnifiedPush: Web Push (RFC 8030, 8291 and 8292)."""

from __future__ import annotations

import httpx2

from notify_service.model.push import Notification, Outcome, Push, Rejected, RetryLater, WebPushSubscription
from notify_service.providers.client import PushClient
from notify_service.providers.connections import ProviderUnreachable
from notify_service.providers.content import blind_collapse_id, encrypt_content
from notify_service.providers.push_hosts import PushHosts
from notify_service.providers.vapid import VapidKey, VapidTokens
from notify_service.providers.web_push_outcomes import web_push_outcome
from servicekit.clock import Clock


class WebPushProvider:
    """A PushProvider for subscriptions at the allowed hosts; others are rejected without a call."""

    def __init__(self, client: PushClient, key: VapidKey, hosts: PushHosts, clock: Clock) -> None:
        self._client = client
        self._hosts = hosts
        self._tokens = VapidTokens(key, clock)

    async def check(self) -> None:
        """Do nothing: there is no service to ask, and the key was checked when it was read."""

    async def send(self, token: WebPushSubscription, push: Push) -> Outcome:
        """Send a push once."""
        url = self._hosts.parse(token.endpoint)
        if url is None:
            return Rejected("this deployment does not allow the host of the subscription")
        try:
            body = encrypt_content(push, token.encryption_key)
        except ValueError:
            return Rejected("the encryption key of the device is not valid")
        try:
            answer = await self._client.post(url, self._headers(url, token, push), body)
        except ProviderUnreachable as error:
            return RetryLater(str(error))
        return web_push_outcome(answer)

    def _headers(self, url: httpx2.URL, token: WebPushSubscription, push: Push) -> dict[str, str]:
        return {
            "authorization": self._tokens.authorization(_origin(url)),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(push.lifetime_s),
            # RFC 8030, section 5.3.
            "urgency": "high" if isinstance(push, Notification) else "normal",
            "topic": blind_collapse_id(push.collapse_id, token.endpoint),
        }


def _origin(url: httpx2.URL) -> str:
    """Return the origin (RFC 6454, section 6.2), without the default port."""
    return f"https://{url.netloc.decode('ascii')}"

"""The provider of a deployment that requires encryption: it sends to no token without a key."""

from __future__ import annotations

from typing import Any

from notify_service.model.push import Outcome, Push, PushProvider, PushToken, TokenGone


class EncryptedOnlyProvider:
    """A PushProvider that sends with another one to tokens with a key; the others are gone, and removed.

    They were registered before the deployment required encryption.
    """

    def __init__(self, provider: PushProvider[Any]) -> None:
        self._provider = provider

    async def check(self) -> None:
        """Check the other provider, and raise as it does."""
        await self._provider.check()

    async def send(self, token: PushToken, push: Push) -> Outcome:
        """Send a push to a token with a key."""
        if token.encryption_key is None:
            return TokenGone("this deployment requires a key for the encryption of the content")
        return await self._provider.send(token, push)

"""The push providers of a deployment, made from its settings, and the tokens that they accept."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from notify_service.delivery.sender import Providers
from notify_service.encryption import validate_key
from notify_service.model.push import ApnsToken, PushProvider, PushToken, WebPushSubscription
from notify_service.model.registration import ProviderKind, provider_of
from notify_service.providers.apns import ApnsProvider
from notify_service.providers.apns_token import ApnsKey
from notify_service.providers.client import PushClient
from notify_service.providers.encrypted_only import EncryptedOnlyProvider
from notify_service.providers.fcm import FcmProvider
from notify_service.providers.push_hosts import PushHosts
from notify_service.providers.recording import RecordingProvider
from notify_service.providers.service_account import ServiceAccount
from notify_service.providers.vapid import VapidKey
from notify_service.providers.web_push import WebPushProvider
from notify_service.settings import ProviderSettings
from notify_service.wire.notify import invalid
from servicekit.clock import Clock
from servicekit.errors import Disabled


@dataclass(slots=True)
class ProviderSet:
    """The providers that the deployment uses, and the bounds of the tokens that they accept.

    `hosts` are None, and `topics` empty, if any is accepted, because pushes are recorded. `web_push_key` is empty if
    browsers cannot subscribe.
    """

    providers: Providers
    require_encryption: bool = False
    topics: tuple[str, ...] = ()
    hosts: PushHosts | None = None
    web_push_key: bytes = field(default=b"", repr=False)

    def use(self, providers: Providers) -> None:
        """Use these providers; to tokens without a key only if none is required."""
        self.providers = providers
        if self.require_encryption:
            self.providers = {kind: EncryptedOnlyProvider(provider) for kind, provider in providers.items()}

    def require_accepted(self, token: PushToken) -> None:
        """Raise Disabled if the deployment does not use the provider, Invalid if it refuses the token."""
        if provider_of(token) not in self.providers:
            raise Disabled("this deployment does not use this push provider")
        key = token.encryption_key
        field_name = "web_push" if isinstance(token, WebPushSubscription) else "encryption"
        if key is None and self.require_encryption:
            raise invalid(field_name, "this deployment requires a key for the encryption of the content")
        if key is not None:
            try:
                validate_key(key)
            except ValueError:
                raise invalid(f"{field_name}.p256dh", "must be a point on the curve P-256") from None
        if isinstance(token, ApnsToken) and self.topics and token.topic not in self.topics:
            raise invalid("apns.topic", "this deployment does not send to this app")
        if isinstance(token, WebPushSubscription) and self.hosts and self.hosts.parse(token.endpoint) is None:
            raise invalid("web_push.endpoint", "this deployment does not allow this push service")


async def open_providers(settings: ProviderSettings, clock: Clock, stack: AsyncExitStack) -> ProviderSet:
    """Return the providers, after a check of their credentials. Raise ConfigurationError."""
    vapid = VapidKey.from_file(settings.vapid_key_file, settings.vapid_subject) if settings.vapid_key_file else None
    chosen = ProviderSet({}, settings.push_require_encryption, web_push_key=vapid.public_key if vapid else b"")
    if settings.push_recording_file is not None:
        recording = RecordingProvider(clock, path=settings.push_recording_file)
        stack.callback(recording.close)
        await recording.check()
        chosen.use(dict.fromkeys(ProviderKind, recording))
        return chosen
    chosen.hosts, chosen.topics = PushHosts(settings.web_push_hosts), settings.apns_topics
    client = PushClient(clock)
    stack.push_async_callback(client.close)
    providers = dict[ProviderKind, PushProvider[Any]]()
    if settings.fcm_service_account_file is not None:
        account = ServiceAccount.from_file(settings.fcm_service_account_file)
        providers[ProviderKind.FCM] = FcmProvider(client, account, clock)
    if settings.apns_key_file is not None:
        key = ApnsKey.from_file(settings.apns_key_file, settings.apns_key_id, settings.apns_team_id)
        providers[ProviderKind.APNS] = ApnsProvider(client, key, settings.apns_topics, clock)
    if vapid is not None:
        providers[ProviderKind.WEB_PUSH] = WebPushProvider(client, vapid, chosen.hosts, clock)
    for provider in providers.values():
        await provider.check()
    chosen.use(providers)
    return chosen

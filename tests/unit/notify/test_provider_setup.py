"""The providers that the settings name, and the tokens that a deployment accepts."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from notify_service.model.push import (
    Accepted,
    ApnsToken,
    EncryptionKey,
    FcmToken,
    Notification,
    PushToken,
    TokenGone,
    WebPushSubscription,
)
from notify_service.model.registration import ProviderKind
from notify_service.provider_setup import ProviderSet, open_providers
from notify_service.providers.push_hosts import PushHosts
from notify_service.providers.recording import RecordingProvider
from notify_service.settings import ProviderSettings
from servicekit.auth import generate_signing_key
from servicekit.config import ConfigurationError
from servicekit.errors import Disabled, Invalid
from tests.clock import ManualClock


def point() -> bytes:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


KEY = EncryptionKey(point(), bytes(16))
NO_POINT = EncryptionKey(b"\x04" + bytes(64), bytes(16))
ALL = dict.fromkeys(ProviderKind, RecordingProvider(ManualClock()))
STRICT = ProviderSet(ALL, True, ("org.example.app",), PushHosts(["push.example.com"]))
LENIENT = ProviderSet(ALL, False, ("org.example.app",), PushHosts(["push.example.com"]))


def fields(chosen: ProviderSet, token: PushToken) -> list[str]:
    """Return the fields that make a deployment refuse a token."""
    try:
        chosen.require_accepted(token)
    except Invalid as failure:
        return [each.field for each in failure.violations]
    return []


@pytest.mark.parametrize(
    ("token", "strict", "lenient"),
    [
        (FcmToken("t"), ["encryption"], []),
        (FcmToken("t", KEY), [], []),
        (FcmToken("t", NO_POINT), ["encryption.p256dh"], ["encryption.p256dh"]),
        (ApnsToken("ab", "org.example.app", encryption_key=KEY), [], []),
        (ApnsToken("ab", "org.example.other", encryption_key=KEY), ["apns.topic"], ["apns.topic"]),
        (WebPushSubscription("https://push.example.com/1", KEY), [], []),
        (WebPushSubscription("https://push.example.com/1", NO_POINT), ["web_push.p256dh"], ["web_push.p256dh"]),
        (WebPushSubscription("https://169.254.169.254/1", KEY), ["web_push.endpoint"], ["web_push.endpoint"]),
    ],
)
def test_deployment_refuses_a_token_by_its_field(token: PushToken, strict: list[str], lenient: list[str]) -> None:
    assert (fields(STRICT, token), fields(LENIENT, token)) == (strict, lenient)


@pytest.mark.parametrize("token", [FcmToken("t"), ApnsToken("ab", "a"), WebPushSubscription("https://a.example", KEY)])
def test_provider_that_is_not_configured_is_disabled(token: PushToken) -> None:
    with pytest.raises(Disabled):
        ProviderSet({}).require_accepted(token)


async def opened(**settings: Any) -> ProviderSet:
    async with AsyncExitStack() as stack:
        return await open_providers(ProviderSettings.load(**settings), ManualClock(), stack)


async def test_without_settings_there_is_no_provider() -> None:
    chosen = await opened()
    assert (dict(chosen.providers), chosen.web_push_key) == ({}, b"")


async def test_recording_stands_for_all_providers_and_accepts_every_app(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        settings = ProviderSettings.load(push_recording_file=tmp_path / "pushes.jsonl")
        chosen = await open_providers(settings, ManualClock(), stack)
        chosen.require_accepted(ApnsToken("ab", "org.example.any"))
        chosen.require_accepted(WebPushSubscription("https://any.example/1", KEY))
        assert set(chosen.providers) == set(ProviderKind)
        provider = chosen.providers[ProviderKind.FCM]
        assert isinstance(provider, RecordingProvider)
        assert provider.pushes == ()


@pytest.mark.parametrize("required", [True, False])
async def test_required_encryption_holds_for_tokens_that_were_registered_before(tmp_path: Path, required: bool) -> None:
    path, push = tmp_path / "pushes.jsonl", Notification("chat", "chat", 5, "Alice", "a secret")
    async with AsyncExitStack() as stack:
        settings = ProviderSettings.load(push_recording_file=path, push_require_encryption=required)
        chosen = await open_providers(settings, ManualClock(), stack)
        clear = await chosen.providers[ProviderKind.FCM].send(FcmToken("clear"), push)
        sealed = await chosen.providers[ProviderKind.FCM].send(FcmToken("sealed", KEY), push)
    assert (isinstance(clear, TokenGone), isinstance(sealed, Accepted)) == (required, True)
    assert (b'"clear"' in path.read_bytes()) is not required


async def test_web_push_has_the_public_key_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "vapid.pem"
    path.write_bytes(generate_signing_key())
    chosen = await opened(vapid_key_file=path, vapid_subject="mailto:ops@example.com")
    assert (set(chosen.providers), len(chosen.web_push_key)) == ({ProviderKind.WEB_PUSH}, 65)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"apns_key_file": "key.p8", "apns_key_id": "ABCDEFGHIJ"}, "PARLEY_APNS_TEAM_ID"),
        ({"vapid_key_file": "vapid.pem"}, "PARLEY_VAPID_SUBJECT"),
        ({"fcm_service_account_file": "missing.json"}, "missing.json"),
    ],
)
async def test_incomplete_settings_are_refused_with_their_names(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        await opened(**settings)


async def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_APNS_TOPICS", "org.example.app, org.example.other,")
    monkeypatch.setenv("PARLEY_WEB_PUSH_HOSTS", "push.example.com,*.unified.example")
    settings = ProviderSettings.load()
    assert settings.apns_topics == ("org.example.app", "org.example.other")
    assert settings.web_push_hosts == ("push.example.com", "*.unified.example")

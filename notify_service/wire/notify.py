"""Conversions between the protos of NotifyService and the domain."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from notify_service.model.decision import PushDecision
from notify_service.model.preferences import Preferences, PreferencesChange, Preview, QuietHours, Scope
from notify_service.model.push import (
    ApnsEnvironment,
    ApnsToken,
    EncryptionKey,
    FcmToken,
    PushToken,
    WebPushSubscription,
)
from notify_service.model.registration import Registration
from parley.notify.v1 import notify_pb2
from servicekit.errors import Invalid
from servicekit.failure import Violation


def decode_token(request: notify_pb2.RegisterPushTokenRequest) -> PushToken:
    """Return the token of a request. Raise Invalid if its key cannot be one."""
    key = _decode_key(request.encryption, "encryption") if request.HasField("encryption") else None
    match request.WhichOneof("token"):
        case "fcm":
            return FcmToken(request.fcm.token, key)
        case "apns":
            environment = ApnsEnvironment(request.apns.environment or ApnsEnvironment.PRODUCTION)
            return ApnsToken(request.apns.token, request.apns.topic, environment, key)
        case _:
            return WebPushSubscription(request.web_push.endpoint, _decode_key(request.web_push, "web_push"))


def _decode_key(key: notify_pb2.EncryptionKey | notify_pb2.WebPushSubscription, field: str) -> EncryptionKey:
    try:
        return EncryptionKey(key.p256dh, key.auth)
    except ValueError as error:
        raise invalid(f"{field}.p256dh", str(error)) from None


def invalid(field: str, description: str) -> Invalid:
    """Return the failure of a field that violates a rule."""
    return Invalid(f"{field}: {description}", violations=(Violation(field, description),))


def encode_registration(registration: Registration) -> notify_pb2.PushToken:
    """Return a registration without its token."""
    encoded = notify_pb2.PushToken(
        device_id=registration.device_id,
        provider=notify_pb2.PushProvider.ValueType(registration.provider),
        language=registration.language,
        register_time=to_timestamp(registration.register_ms),
        encrypted=registration.token.encryption_key is not None,
    )
    if registration.last_push_ms:
        encoded.last_push_time.CopyFrom(to_timestamp(registration.last_push_ms // 60_000 * 60_000))
    return encoded


def encode_preferences(preferences: Preferences) -> notify_pb2.Preferences:
    """Return preferences."""
    encoded = notify_pb2.Preferences(
        scope=notify_pb2.NotificationScope.ValueType(preferences.scope),
        preview=notify_pb2.NotificationPreview.ValueType(preferences.preview),
        reactions=preferences.reactions,
    )
    if (quiet := preferences.quiet_hours) is not None:
        encoded.quiet_hours.CopyFrom(
            notify_pb2.QuietHours(
                start_minute=quiet.start_minute, end_minute=quiet.end_minute, time_zone=quiet.time_zone
            )
        )
    return encoded


def decode_change(preferences: notify_pb2.Preferences) -> PreferencesChange:
    """Return the change of a request. Raise Invalid."""
    return PreferencesChange(
        Scope(preferences.scope) if preferences.scope else None,
        Preview(preferences.preview) if preferences.preview else None,
        preferences.reactions if preferences.HasField("reactions") else None,
        _decode_quiet_hours(preferences.quiet_hours) if preferences.HasField("quiet_hours") else None,
    )


def _decode_quiet_hours(quiet: notify_pb2.QuietHours) -> QuietHours:
    try:
        return QuietHours(quiet.start_minute, quiet.end_minute, quiet.time_zone)
    except ValueError as error:
        raise invalid("preferences.quiet_hours.time_zone", str(error)) from None


def encode_decisions(decisions: Iterable[PushDecision]) -> list[notify_pb2.PushDecision]:
    """Return decisions."""
    return [
        notify_pb2.PushDecision(
            decide_time=to_timestamp(each.time_ms),
            conversation_id=each.conversation_id,
            seq=each.seq,
            outcome=notify_pb2.PushOutcome.ValueType(each.outcome),
            device_id=each.device_id,
            provider=notify_pb2.PushProvider.ValueType(each.provider or 0),
            provider_reason=each.provider_reason,
        )
        for each in decisions
    ]


def to_timestamp(ms: int) -> Timestamp:
    """Return a time in milliseconds since 1970 as a Timestamp."""
    time = Timestamp()
    time.FromMilliseconds(ms)
    return time

"""Push tokens, decisions about pushes and notification preferences, as words and as JSON fields."""

from __future__ import annotations

from parley.notify.v1 import notify_pb2
from parley_client.cli.text import one_cell
from parley_client.push_decisions import PushDecision, PushOutcome, PushTestResult
from parley_client.push_preferences import (
    NotificationPreferences,
    NotificationPreview,
    NotificationScope,
    QuietHours,
)
from parley_client.push_tokens import PushProvider, PushToken

PROVIDERS = {
    PushProvider.FCM: "FCM",
    PushProvider.APNS: "APNs",
    PushProvider.WEB_PUSH: "Web Push",
    PushProvider.UNKNOWN: "a provider that this version cannot name",
}
SCOPES = {
    NotificationScope.ALL: "all",
    NotificationScope.MENTIONS: "in groups only those that mention you or reply to you",
    NotificationScope.NONE: "none",
    NotificationScope.UNKNOWN: "a choice that this version cannot name",
}
PREVIEWS = {
    NotificationPreview.FULL: "the sender and the beginning of the text",
    NotificationPreview.SENDER: "the sender, not the text",
    NotificationPreview.NONE: "only that there is a new message",
    NotificationPreview.UNKNOWN: "a choice that this version cannot name",
}
_REFUSALS = {
    PushOutcome.RETRYING: "not pushed yet{device}: the provider does not accept it now{reason}, and it is sent again",
    PushOutcome.FAILED: "not pushed{device}: the provider refused it for good{reason}",
    PushOutcome.TOKEN_GONE: (
        "not pushed{device}: the provider does not know the token any more{reason}; the app must register a new one"
    ),
    PushOutcome.NO_TOKEN: "not pushed: none of your devices had a push token",
    PushOutcome.SIGNED_OUT: "not pushed{device}: it is signed out",
    PushOutcome.NOT_A_MEMBER: "not pushed: you are not a member of the conversation any more",
    PushOutcome.MUTED: "not pushed: you have muted the conversation",
    PushOutcome.BLOCKED: "not pushed: you have blocked its author",
    PushOutcome.READ: "not pushed: you had read it already",
    PushOutcome.EXCLUDED: "not pushed: your preferences exclude it",
    PushOutcome.SUPERSEDED: "not pushed{device}: something newer in the conversation was pushed instead",
    PushOutcome.QUIET_HOURS: "not pushed: it was in your quiet hours",
    PushOutcome.IN_FOREGROUND: "not pushed: one of your devices was in the foreground{device}",
    PushOutcome.DELETED: "not pushed: it was deleted before",
    PushOutcome.UNKNOWN: "not pushed{device}, for a reason that this version cannot name",
}
_TEST_OUTCOMES = {
    PushOutcome.ACCEPTED: "the provider accepted the notification",
    PushOutcome.RETRYING: "the provider does not accept notifications now{reason}. Try again later",
    PushOutcome.FAILED: "the provider refused the notification{reason}",
    PushOutcome.TOKEN_GONE: (
        "the provider does not know the token any more{reason}. It was removed; the app must register a new one"
    ),
    PushOutcome.SUPERSEDED: "a newer test notification was sent instead",
}


def device_label(device_id: str, own_device_id: str) -> str:
    """Return the words for one of the user's devices."""
    return "this machine" if device_id == own_device_id else f"device {device_id[:8]}"


def describe_decision(decision: PushDecision, own_device_id: str) -> str:
    """Return the outcome of a decision, with its reason, as one line."""
    device = ""
    if decision.device_id and decision.provider:
        device = f" to {device_label(decision.device_id, own_device_id)} over {PROVIDERS[decision.provider]}"
    if decision.outcome is PushOutcome.ACCEPTED:
        return f"pushed{device}"
    if decision.outcome is PushOutcome.IN_FOREGROUND and decision.device_id:
        device = f": {device_label(decision.device_id, own_device_id)}"
    return _REFUSALS[decision.outcome].format(device=device, reason=_parenthesize(decision.provider_reason))


def describe_test_result(result: PushTestResult, own_device_id: str) -> str:
    """Return the provider's answer to a test notification as one line."""
    label = device_label(result.device_id, own_device_id)
    outcome = _TEST_OUTCOMES.get(result.outcome, "the outcome is one that this version cannot name")
    answer = outcome.format(reason=_parenthesize(result.provider_reason))
    return f"{label[:1].upper()}{label[1:]}, {PROVIDERS[result.provider]}: {answer}."


def describe_token(token: PushToken, own_device_id: str) -> str:
    """Return a registration as one line: device, provider, time, language, whether pushes are encrypted."""
    encryption = "encrypted" if token.encrypted else "not encrypted"
    last = f"last push {token.last_push_time.astimezone():%Y-%m-%d %H:%M}" if token.last_push_time else "no push yet"
    suffix = "  (this machine)" if token.device_id == own_device_id else ""
    registered = f"{token.register_time.astimezone():%Y-%m-%d %H:%M}"
    provider = PROVIDERS[token.provider]
    return f"{token.device_id}  {registered}  {provider}, {one_cell(token.language)}, {encryption}, {last}{suffix}"


def describe_preferences(preferences: NotificationPreferences) -> list[str]:
    """Return notification preferences as lines: messages, preview, reactions, quiet hours."""
    quiet = _describe_quiet_hours(preferences.quiet_hours)
    return [
        f"Messages that notify you: {SCOPES[preferences.scope]}.",
        f"Notifications show: {PREVIEWS[preferences.preview]}.",
        f"Reactions to your messages notify you: {'yes' if preferences.reactions else 'no'}.",
        f"Quiet hours, without notifications: {quiet}.",
    ]


def decision_fields(decision: PushDecision) -> dict[str, str | bool | None]:
    """Return the JSON fields of a decision, as in the proto PushDecision."""
    return {
        "decide_time": decision.time.isoformat(),
        "conversation_id": decision.conversation_id,
        "seq": str(decision.seq),
        "outcome": notify_pb2.PushOutcome.Name(decision.outcome.value),
        "device_id": decision.device_id,
        "provider": notify_pb2.PushProvider.Name(decision.provider.value) if decision.provider else None,
        "provider_reason": decision.provider_reason,
    }


def result_fields(result: PushTestResult) -> dict[str, str]:
    """Return the JSON fields of a result, as in the proto TestPushResult."""
    return {
        "device_id": result.device_id,
        "provider": notify_pb2.PushProvider.Name(result.provider.value),
        "outcome": notify_pb2.PushOutcome.Name(result.outcome.value),
        "provider_reason": result.provider_reason,
    }


def token_fields(token: PushToken) -> dict[str, str | bool | None]:
    """Return the JSON fields of a registration, as in the proto PushToken."""
    return {
        "device_id": token.device_id,
        "provider": notify_pb2.PushProvider.Name(token.provider.value),
        "language": token.language,
        "register_time": token.register_time.isoformat(),
        "last_push_time": token.last_push_time.isoformat() if token.last_push_time else None,
        "encrypted": token.encrypted,
    }


def _parenthesize(provider_reason: str) -> str:
    return f" ({one_cell(provider_reason)})" if one_cell(provider_reason) else ""


def _describe_quiet_hours(quiet: QuietHours | None) -> str:
    if quiet is None:
        return "none"
    zone = one_cell(quiet.time_zone)
    if quiet.start == quiet.end:
        return f"the whole day, as they end when they begin: {quiet.start:%H:%M} ({zone})"
    return f"{quiet.start:%H:%M} to {quiet.end:%H:%M}, {zone}"

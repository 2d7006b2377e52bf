"""Push tokens, decisions and preferences as the SDK reports them, and as the command shows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from parley.notify.v1 import notify_pb2
from parley_client import (
    ApnsEnvironment,
    ApnsToken,
    DeviceToken,
    EncryptionKey,
    FcmToken,
    NotificationPreferences,
    NotificationPreview,
    NotificationScope,
    PushDecision,
    PushOutcome,
    PushProvider,
    PushTestResult,
    QuietHours,
    WebPushSubscription,
)
from parley_client.cli.local_zone import find_local_zone
from parley_client.cli.push_text import decision_fields, describe_decision, describe_preferences, describe_test_result
from parley_client.push_tokens import registration_request

PHONE, LAPTOP, CHAT = "a" * 32, "b" * 32, "c" * 32
KEY = EncryptionKey(b"\x04" + bytes(64), bytes(16))
PROTO_KEY = notify_pb2.EncryptionKey(p256dh=KEY.p256dh, auth=KEY.auth)
NOON = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("token", "request_"),
    [
        (FcmToken("t"), {"fcm": notify_pb2.FcmToken(token="t")}),
        (FcmToken("t", KEY), {"fcm": notify_pb2.FcmToken(token="t"), "encryption": PROTO_KEY}),
        (
            ApnsToken("AB01", "org.example", ApnsEnvironment.SANDBOX, KEY),
            {
                "apns": notify_pb2.ApnsToken(
                    token="ab01", topic="org.example", environment=notify_pb2.APNS_ENVIRONMENT_SANDBOX
                ),
                "encryption": PROTO_KEY,
            },
        ),
        (
            WebPushSubscription("https://push.example/1", KEY),
            {
                "web_push": notify_pb2.WebPushSubscription(
                    endpoint="https://push.example/1", p256dh=KEY.p256dh, auth=KEY.auth
                )
            },
        ),
    ],
)
def test_request_has_token_and_key(token: DeviceToken, request_: dict[str, object]) -> None:
    expected = notify_pb2.RegisterPushTokenRequest(language="de", **request_)  # type: ignore[arg-type]
    assert registration_request(token, "de") == expected


def test_secrets_of_a_token_are_not_in_its_repr() -> None:
    tokens = (FcmToken("s3cret"), ApnsToken("5ec4e7", "org.example"), WebPushSubscription("https://a/s3cret", KEY))
    shown = f"{tokens}".lower()
    assert "s3cret" not in shown
    assert "5ec4e7" not in shown
    assert "auth" not in shown


def test_subscription_of_a_browser_is_read_from_its_json() -> None:
    # Without padding, and with the letters in which base64url differs.
    keys = {"p256dh": "BP-_", "auth": "AAECAw"}
    document = json.dumps({"endpoint": "https://push.example/1", "expirationTime": None, "keys": keys})
    subscription = WebPushSubscription.from_json(document)
    assert subscription == WebPushSubscription(
        "https://push.example/1", EncryptionKey(b"\x04\xff\xbf", bytes([0, 1, 2, 3]))
    )


@pytest.mark.parametrize(
    "document",
    [
        "",
        "null",
        "[]",
        '{"endpoint": "https://a"}',
        '{"endpoint": "https://a", "keys": {"p256dh": "BP"}}',
        '{"endpoint": "https://a", "keys": {"p256dh": 1, "auth": "AA"}}',
        '{"endpoint": "https://a", "keys": {"p256dh": "B*", "auth": "AA"}}',
        '{"endpoint": "https://a", "keys": {"p256dh": "B", "auth": "AA"}}',
        '{"endpoint": 7, "keys": {"p256dh": "BP-_", "auth": "AAECAw"}}',
        '{"keys": {"p256dh": "BP-_", "auth": "AAECAw"}}',
    ],
)
def test_json_of_another_thing_is_no_subscription(document: str) -> None:
    with pytest.raises(ValueError, match="PushSubscription"):
        WebPushSubscription.from_json(document)


def test_quiet_hours_pass_midnight_and_survive_the_wire() -> None:
    quiet = QuietHours(time(22, 15), time(7), "Europe/Lisbon")
    proto = quiet.to_proto()
    assert (proto.start_minute, proto.end_minute) == (22 * 60 + 15, 7 * 60)
    assert QuietHours.from_proto(proto) == quiet


@pytest.mark.parametrize("wrong", [time(7, 0, 1), time(7, 0, 0, 1), time(7, tzinfo=UTC)])
def test_time_of_day_that_the_wire_cannot_carry_is_refused(wrong: time) -> None:
    with pytest.raises(ValueError, match="to the minute"):
        QuietHours(time(22), wrong, "Europe/Lisbon")


def test_values_of_a_newer_server_are_unknown_and_keep_what_is_set() -> None:
    newer = notify_pb2.Preferences()
    newer.ParseFromString(b"\x08\x63\x10\x63")
    found = NotificationPreferences.from_proto(newer)
    assert (found.scope, found.preview) == (NotificationScope.UNKNOWN, NotificationPreview.UNKNOWN)
    assert found.to_proto().scope == notify_pb2.NOTIFICATION_SCOPE_UNSPECIFIED
    assert (PushOutcome(99), PushProvider(99)) == (PushOutcome.UNKNOWN, PushProvider.UNKNOWN)


def test_decision_about_all_devices_names_none() -> None:
    proto = notify_pb2.PushDecision(conversation_id=CHAT, seq=7, outcome=notify_pb2.PUSH_OUTCOME_MUTED)
    proto.decide_time.FromDatetime(NOON)
    decision = PushDecision.from_proto(proto)
    assert decision == PushDecision(NOON, CHAT, 7, PushOutcome.MUTED)
    assert decision_fields(decision) == {
        "decide_time": "2026-03-14T12:30:00+00:00",
        "conversation_id": CHAT,
        "seq": "7",
        "outcome": "PUSH_OUTCOME_MUTED",
        "device_id": None,
        "provider": None,
        "provider_reason": "",
    }


@pytest.mark.parametrize(
    ("outcome", "reason", "words"),
    [
        (PushOutcome.ACCEPTED, "", "pushed to this machine over FCM"),
        (
            PushOutcome.FAILED,
            "Bad\n\x1b[31mRequest",
            "not pushed to this machine over FCM: the provider refused it for good (Bad [31mRequest)",
        ),
        (PushOutcome.SIGNED_OUT, "", "not pushed to this machine over FCM: it is signed out"),
    ],
)
def test_decision_about_a_device_is_described(outcome: PushOutcome, reason: str, words: str) -> None:
    decision = PushDecision(NOON, CHAT, 7, outcome, PHONE, PushProvider.FCM, reason)
    assert describe_decision(decision, PHONE) == words


def test_device_in_the_foreground_is_named() -> None:
    proto = notify_pb2.PushDecision(
        conversation_id=CHAT, seq=7, outcome=notify_pb2.PUSH_OUTCOME_IN_FOREGROUND, device_id=PHONE
    )
    decision = PushDecision.from_proto(proto)
    assert decision.provider is None
    words = "not pushed: one of your devices was in the foreground"
    assert describe_decision(decision, PHONE) == f"{words}: this machine"
    assert describe_decision(PushDecision(NOON, CHAT, 7, PushOutcome.IN_FOREGROUND), PHONE) == words


@pytest.mark.parametrize("outcome", PushOutcome)
def test_every_outcome_has_words(outcome: PushOutcome) -> None:
    for decision in (
        PushDecision(NOON, CHAT, 7, outcome),
        PushDecision(NOON, CHAT, 7, outcome, PHONE, PushProvider.APNS, "why"),
    ):
        words = describe_decision(decision, LAPTOP)
        assert words.startswith("pushed" if outcome is PushOutcome.ACCEPTED else "not pushed")
        assert "{" not in words
    result = describe_test_result(PushTestResult(PHONE, PushProvider.WEB_PUSH, outcome, "{device}"), LAPTOP)
    assert result.startswith("Device aaaaaaaa, Web Push: ")


def test_preferences_are_described_in_sentences() -> None:
    quiet = QuietHours(time(22), time(7), "Europe/Lisbon")
    preferences = NotificationPreferences(NotificationScope.MENTIONS, NotificationPreview.NONE, False, quiet)
    assert describe_preferences(preferences) == [
        "Messages that notify you: in groups only those that mention you or reply to you.",
        "Notifications show: only that there is a new message.",
        "Reactions to your messages notify you: no.",
        "Quiet hours, without notifications: 22:00 to 07:00, Europe/Lisbon.",
    ]


def test_quiet_hours_that_end_when_they_begin_are_described_as_the_whole_day() -> None:
    quiet = NotificationPreferences(quiet_hours=QuietHours(time(22), time(22), "Europe/Lisbon"))
    assert describe_preferences(quiet)[-1] == (
        "Quiet hours, without notifications: the whole day, as they end when they begin: 22:00 (Europe/Lisbon)."
    )


@pytest.mark.parametrize("value", ["Asia/Tokyo", ":Asia/Tokyo"])
def test_local_zone_is_that_of_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    monkeypatch.setenv("TZ", value)
    assert find_local_zone(tmp_path) == "Asia/Tokyo"


def test_local_zone_is_where_the_link_leads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TZ", raising=False)
    zone = tmp_path / "zoneinfo" / "Europe" / "Lisbon"
    zone.parent.mkdir(parents=True)
    zone.touch()
    (tmp_path / "localtime").symlink_to(zone)
    assert find_local_zone(tmp_path / "localtime") == "Europe/Lisbon"


@pytest.mark.parametrize("value", ["", "localtime", ":localtime"])
def test_local_zone_is_never_the_name_of_the_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    monkeypatch.setenv("TZ", value)
    (tmp_path / "zoneinfo").mkdir()
    (tmp_path / "zoneinfo" / "localtime").touch()
    (tmp_path / "localtime").symlink_to(tmp_path / "zoneinfo" / "localtime")
    assert find_local_zone(tmp_path / "localtime") is None


@pytest.mark.parametrize("value", ["CET-1CEST", "../etc/passwd", "Nowhere"])
def test_local_zone_without_a_name_is_not_guessed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    monkeypatch.setenv("TZ", value)
    assert find_local_zone(tmp_path) is None
    monkeypatch.delenv("TZ")
    assert find_local_zone(tmp_path / "localtime") is None

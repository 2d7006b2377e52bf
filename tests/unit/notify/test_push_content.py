"""Any text becomes a push within the limits of each provider."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from notify_service.model.push import ApnsToken, FcmToken, Notification
from notify_service.providers.apns_payload import MAX_PAYLOAD_BYTES, apns_payload
from notify_service.providers.content import blind_collapse_id, encode_json, encrypt_content
from notify_service.providers.fcm_message import MAX_MESSAGE_BYTES, fcm_message
from tests.push_servers.web_push import DeviceKey

DEVICE = DeviceKey.generate()
NOW_MS = 1_800_000_000_000

# Letters of one to four bytes, and what JSON writes with up to six.
TEXTS = st.text(st.sampled_from('a é€🎉"\\\n\u0001\u2028👍🏽'), max_size=60).map(lambda text: text * 60)


def notification(title: str, body: str) -> Notification:
    return Notification("c" * 64, "f" * 64, 2**63 - 1, title, body, badge=2**31 - 1, language="xx")


@given(title=TEXTS, body=TEXTS)
def test_any_text_fits_into_a_payload_of_apns(title: str, body: str) -> None:
    clear = apns_payload(ApnsToken("ab" * 100, "t" * 255), notification(title, body))
    sealed = apns_payload(ApnsToken("ab" * 100, "t" * 255, encryption_key=DEVICE.registered), notification(title, body))
    assert max(len(clear), len(sealed)) <= MAX_PAYLOAD_BYTES
    assert body.startswith(json.loads(clear)["aps"]["alert"]["body"].removesuffix("…"))
    assert body.startswith(DEVICE.open(json.loads(sealed)["encrypted"])["body"].removesuffix("…"))


@given(title=TEXTS, body=TEXTS)
def test_any_text_fits_into_a_message_of_fcm(title: str, body: str) -> None:
    for token in (FcmToken("t" * 4096), FcmToken("t" * 4096, DEVICE.registered)):
        message = fcm_message(token, notification(title, body), NOW_MS)
        parts: dict[str, object] = {name: message[name] for name in ("notification", "data") if name in message}
        assert len(encode_json({**parts, **message["apns"]["payload"]})) <= MAX_MESSAGE_BYTES


@given(title=TEXTS, body=TEXTS)
def test_any_text_fits_into_a_web_push(title: str, body: str) -> None:
    encrypted = encrypt_content(notification(title, body), DEVICE.registered)
    assert len(encrypted) <= 4096
    assert body.startswith(json.loads(DEVICE.decrypt(encrypted))["body"].removesuffix("…"))


def test_short_text_is_whole_everywhere() -> None:
    push = notification("Alice", "Hello")
    assert json.loads(apns_payload(ApnsToken("ab", "t"), push))["aps"]["alert"] == {"title": "Alice", "body": "Hello"}
    assert fcm_message(FcmToken("t"), push, NOW_MS)["notification"] == {"title": "Alice", "body": "Hello"}
    assert json.loads(DEVICE.decrypt(encrypt_content(push, DEVICE.registered)))["body"] == "Hello"


def test_push_without_a_badge_has_no_field_of_it() -> None:
    push = Notification("test", "", 0, "Test", "")
    clear, sealed = json.loads(apns_payload(ApnsToken("ab", "t"), push)), encrypt_content(push, DEVICE.registered)
    message = fcm_message(FcmToken("t"), push, NOW_MS)
    contents = [
        clear,
        clear["aps"],
        message["data"],
        message["apns"]["payload"]["aps"],
        json.loads(DEVICE.decrypt(sealed)),
    ]
    assert [content for content in contents if "badge" in content] == []
    cleared = json.loads(apns_payload(ApnsToken("ab", "t"), replace(push, badge=0)))
    assert (cleared["badge"], cleared["aps"]["badge"]) == (0, 0)


def test_blind_collapse_id_is_a_topic_of_32_characters() -> None:
    topic = blind_collapse_id("conversation", "device")
    assert len(topic) == 32
    assert topic == blind_collapse_id("conversation", "device")
    assert topic not in (blind_collapse_id("conversation", "other"), blind_collapse_id("other", "device"))

"""Invalid sends: each is refused with its reason, the stream stays open, and no other device is affected."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import pytest

from parley.chat.v1 import chat_pb2, entry_pb2
from tests.raw.device import id_at, new_id, text
from tests.raw.refusal import of_status
from tests.scenarios.conftest import Scene

pytestmark = pytest.mark.scenario

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
INVALID = "INVALID_ARGUMENT"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def custom(size: int) -> entry_pb2.Content:
    return entry_pb2.Content(custom=entry_pb2.CustomPayload(content_type="application/x-test", payload=b"x" * size))


async def test_oversized_text_and_payload_are_refused(scene: Scene) -> None:
    alice, conversation = scene.alice, scene.conversation
    assert await alice.sent(conversation, "x" * 16384) == 2
    assert (await alice.refused(conversation, "x" * 16385)).code_and_reason == (INVALID, "CONTENT_TOO_LARGE")
    assert (await alice.refused(conversation, "ü" * 8193)).code_and_reason == (INVALID, "CONTENT_TOO_LARGE"), (
        "bytes, not letters"
    )
    assert await alice.sent(conversation, custom(65536)) == 3
    assert (await alice.refused(conversation, custom(65537))).code_and_reason == (INVALID, "CONTENT_TOO_LARGE")
    assert await alice.sent(conversation, "and on") == 4


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (text(""), "send_message.content.text.body"),
        (entry_pb2.Content(), "send_message.content.body"),
        (entry_pb2.Content(reply_to_seq=-1, text=entry_pb2.Text(body="?")), "send_message.content.reply_to_seq"),
        (
            entry_pb2.Content(location=entry_pb2.Location(latitude=91)),
            "send_message.content.location.latitude",
        ),
        (
            entry_pb2.Content(location=entry_pb2.Location(longitude=float("nan"))),
            "send_message.content.location.longitude",
        ),
        (entry_pb2.Content(media=entry_pb2.MediaReference(media_id="x")), "send_message.content.media.media_id"),
        (
            entry_pb2.Content(text=entry_pb2.Text(body="@", mentions=[entry_pb2.Mention(user_id="A" * 32, length=1)])),
            "send_message.content.text.mentions[0].user_id",
        ),
        (
            entry_pb2.Content(contact_card=entry_pb2.ContactCard(display_name="\u3164")),
            "send_message.content.contact_card.display_name",
        ),
        (entry_pb2.Content(custom=entry_pb2.CustomPayload(payload=b"x")), "send_message.content.custom.content_type"),
    ],
)
async def test_content_violating_contract_rules_is_refused(
    scene: Scene, content: entry_pb2.Content, field: str
) -> None:
    refusal = await scene.alice.refused(scene.conversation, content)
    assert refusal.code_and_reason == (INVALID, "FIELD_INVALID")
    assert refusal.fields == (field,)
    assert await scene.alice.sent(scene.conversation, "better") == 2


async def test_send_without_content_is_refused(scene: Scene) -> None:
    key = new_id()
    await scene.alice.stream.send_frame(
        send_message=chat_pb2.SendMessageRequest(client_message_id=key, conversation_id=scene.conversation)
    )
    refusal = of_status((await scene.alice.next_result(key)).refused)
    assert refusal.code_and_reason == (INVALID, "FIELD_INVALID")
    assert refusal.fields == ("send_message.content",)


async def test_refusal_names_every_invalid_field(scene: Scene) -> None:
    refusal = await scene.alice.refused("not an id", "", client_message_id="nor this")
    assert set(refusal.fields) == {
        "send_message.client_message_id",
        "send_message.conversation_id",
        "send_message.content.text.body",
    }


async def test_foreign_and_unknown_conversations_are_refused_alike(scene: Scene) -> None:
    alice, bob = scene.alice, scene.bob
    other = await scene.world.user("mallory")
    secret = await bob.direct(other)
    not_hers = await alice.refused(secret, "let me in")
    not_there = await alice.refused(uuid.uuid4().hex, "anybody?")
    assert not_hers == not_there
    assert not_hers.code_and_reason == ("NOT_FOUND", "CONVERSATION_NOT_FOUND")
    assert await alice.sent(scene.conversation, "never mind") == 2


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: "nonsense", "FIELD_INVALID"),
        (lambda: "", "FIELD_INVALID"),
        (lambda: str(uuid.uuid4()), "MESSAGE_ID_INVALID"),
        (lambda: new_id().upper(), "MESSAGE_ID_INVALID"),
        (lambda: str(uuid.UUID(int=0)), "MESSAGE_ID_INVALID"),
        (lambda: id_at(now_ms() - 31 * DAY_MS), "MESSAGE_ID_EXPIRED"),
        (lambda: id_at(now_ms() + 11 * MINUTE_MS), "MESSAGE_ID_FROM_FUTURE"),
        (lambda: id_at(0), "MESSAGE_ID_EXPIRED"),
        (lambda: id_at((1 << 48) - 1), "MESSAGE_ID_FROM_FUTURE"),
    ],
    ids=["nonsense", "empty", "random", "in capitals", "nil", "31 days old", "11 minutes ahead", "of 1970", "of 10889"],
)
async def test_invalid_message_id_is_refused(scene: Scene, make: Callable[[], str], reason: str) -> None:
    refusal = await scene.alice.refused(scene.conversation, "hello", client_message_id=make())
    assert refusal.code_and_reason == (INVALID, reason)
    assert await scene.alice.sent(scene.conversation, "hello") == 2


async def test_message_ids_of_skewed_clocks_are_accepted(scene: Scene) -> None:
    for seq, made_ms in enumerate([now_ms() - 29 * DAY_MS, now_ms() + 9 * MINUTE_MS], start=2):
        assert await scene.alice.sent(scene.conversation, "hello", client_message_id=id_at(made_ms)) == seq


async def test_repeated_id_gets_first_answer_and_other_content_is_refused(scene: Scene) -> None:
    key = new_id()
    first = await scene.alice.sent(scene.conversation, "hello", client_message_id=key)
    assert await scene.alice.sent(scene.conversation, "hello", client_message_id=key) == first
    refusal = await scene.alice.refused(scene.conversation, "something else", client_message_id=key)
    assert refusal.code_and_reason == ("ALREADY_EXISTS", "MESSAGE_ID_REUSED")
    assert await scene.alice.sent(scene.conversation, "hello", client_message_id=key) == first
    assert await scene.alice.sent(scene.conversation, "next") == first + 1


@pytest.mark.parametrize("receipt", [chat_pb2.Receipt(conversation_id="x"), chat_pb2.Receipt(read_seq=-1)])
async def test_receipt_violating_rules_is_refused(scene: Scene, receipt: chat_pb2.Receipt) -> None:
    await scene.alice.stream.send_frame(receipts=chat_pb2.UpdateReceiptsRequest(receipts=[receipt]))
    assert (await scene.alice.stream.refusal()).code_and_reason == (INVALID, "FIELD_INVALID")
    await scene.alice.stream.send_frame(receipts=chat_pb2.UpdateReceiptsRequest())
    assert (await scene.alice.stream.refusal()).fields == ("receipts.receipts",)


async def test_receipt_beyond_head_is_clamped_and_foreign_receipt_ignored(scene: Scene) -> None:
    alice = scene.alice
    other = await scene.world.user("mallory")
    await alice.receipt(await scene.bob.direct(other), read=1)
    await alice.receipt(uuid.uuid4().hex, read=1)
    await alice.receipt(scene.conversation, read=2**63 - 1)
    await alice.stream.next_frame("watermarks")
    assert alice.watermarks == {(scene.conversation, alice.user_id): (1, 1)}

"""Titles and bodies of notifications, by kind of content, preview and language."""

from __future__ import annotations

import pytest

from notify_service.model.composition import (
    BADGE_COLLAPSE_ID,
    compose_badge,
    compose_notification,
    compose_test,
    compose_withdrawal,
)
from notify_service.model.decision import ConversationContext, RecipientState
from notify_service.model.events import AddedToGroup, Change, ContentKind, NewMessage, NewReaction, NotifyingEntry
from notify_service.model.preferences import Preview
from notify_service.model.push import Notification

BOB, CHAT = "b" * 32, "c" * 32
STATES = {BOB: RecipientState(is_member=True, badge=7)}
GROUP = ConversationContext(True, "Friday", "Alice", STATES, {})
UNNAMED = ConversationContext(True, "", "Alice", STATES, {})
DIRECT = ConversationContext(False, "", "Alice", STATES, {})
DELETED = ConversationContext(False, "", "", STATES, {})
TEXT = NewMessage(ContentKind.TEXT, "see you\n at 8")


def compose(
    change: Change = TEXT,
    context: ConversationContext = DIRECT,
    preview: Preview = Preview.FULL,
    language: str = "en",
) -> Notification:
    entry = NotifyingEntry(5, "a" * 32, change)
    return compose_notification(CHAT, entry, context, BOB, preview=preview, language=language)


def texts(*arguments: object, **options: object) -> tuple[str, str]:
    notification = compose(*arguments, **options)  # type: ignore[arg-type]
    return notification.title, notification.body


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (DIRECT, ("Alice", "see you at 8")),
        (GROUP, ("Friday", "Alice: see you at 8")),
        (UNNAMED, ("Alice", "see you at 8")),
        (DELETED, ("New message", "see you at 8")),
    ],
)
def test_title_names_the_group_or_the_author(context: ConversationContext, expected: tuple[str, str]) -> None:
    assert texts(context=context) == expected


@pytest.mark.parametrize(
    ("change", "body"),
    [
        (NewMessage(ContentKind.IMAGE), "📷 Photo"),
        (NewMessage(ContentKind.IMAGE, "look"), "📷 look"),
        (NewMessage(ContentKind.VIDEO), "🎬 Video"),
        (NewMessage(ContentKind.AUDIO), "🎤 Audio"),
        (NewMessage(ContentKind.FILE, "report.pdf"), "📎 report.pdf"),
        (NewMessage(ContentKind.LOCATION), "📍 Location"),
        (NewMessage(ContentKind.CONTACT, "Carol"), "👤 Carol"),
        (NewMessage(ContentKind.OPAQUE, "secret"), "New message"),
        (NewReaction(3, "👍"), "Reacted 👍 to your message"),
        (AddedToGroup(frozenset({BOB})), "Alice added you to the group"),
    ],
)
def test_body_describes_the_change(change: Change, body: str) -> None:
    assert texts(change, UNNAMED) == ("Alice", body)


def test_preview_of_the_sender_shows_no_content() -> None:
    assert texts(preview=Preview.SENDER) == ("Alice", "New message")
    assert texts(context=GROUP, preview=Preview.SENDER) == ("Friday", "Alice: New message")
    assert texts(NewReaction(3, "👍"), preview=Preview.SENDER) == ("Alice", "New message")


@pytest.mark.parametrize("change", [TEXT, NewReaction(3, "👍"), AddedToGroup(frozenset({BOB}))])
def test_preview_of_nothing_shows_neither_sender_nor_group(change: Change) -> None:
    assert texts(change, GROUP, Preview.NONE) == ("New message", "")


@pytest.mark.parametrize(
    ("language", "body"),
    [("de-AT", "📷 Foto"), ("pt-PT", "📎 Ficheiro"), ("pt-BR", "📎 Arquivo"), ("ja", "📷 Photo"), ("", "📷 Photo")],
)
def test_texts_are_in_the_language_of_the_device(language: str, body: str) -> None:
    kind = ContentKind.FILE if body.startswith("📎") else ContentKind.IMAGE
    assert texts(NewMessage(kind), language=language)[1] == body


def test_text_with_braces_and_a_long_one_are_shown_as_they_are() -> None:
    assert texts(NewReaction(3, "{name}"))[1] == "Reacted {name} to your message"
    _, body = texts(NewMessage(ContentKind.TEXT, "é" * 20_000))
    assert (len(body), body[-1]) == (400, "…")


def test_pushes_of_a_conversation_collapse_and_a_badge_replaces_none() -> None:
    assert compose().badge == 7
    assert compose().collapse_id == compose_withdrawal(CHAT, 5, 0).collapse_id == CHAT
    badge = compose_badge(CHAT, 5, 2)
    assert (badge.collapse_id, badge.conversation_id, badge.seq, badge.badge) == (BADGE_COLLAPSE_ID, CHAT, 5, 2)
    assert compose_test("de").title == "Testbenachrichtigung"


def test_test_notification_leaves_the_badge_as_it_is() -> None:
    assert compose_test("en").badge is None

"""The composition of pushes: titles and bodies as the preferences of the user permit them."""

from __future__ import annotations

from typing import Final

from notify_service.model.decision import NO_MEMBER, ConversationContext
from notify_service.model.events import AddedToGroup, ContentKind, NewMessage, NewReaction, NotifyingEntry
from notify_service.model.generic_text import new_message
from notify_service.model.preferences import Preview
from notify_service.model.push import Notification, Withdrawal
from notify_service.model.text_cut import cut
from notify_service.model.texts import texts_in

LIFETIME_S: Final = 7 * 86_400
"""The time for which providers keep a push for a device that is offline."""

BADGE_COLLAPSE_ID: Final = "badge"
"""The collapse id of pushes that change the number on the icon alone: they replace no notification."""

# In code points. Providers cut further, to what they carry.
_MAX_NAME_LENGTH: Final = 60
_MAX_TEXT_LENGTH: Final = 400

_SYMBOLS: Final = {
    ContentKind.IMAGE: "📷",
    ContentKind.VIDEO: "🎬",
    ContentKind.AUDIO: "🎤",
    ContentKind.FILE: "📎",
    ContentKind.LOCATION: "📍",
    ContentKind.CONTACT: "👤",
}


def compose_notification(
    conversation_id: str,
    entry: NotifyingEntry,
    context: ConversationContext,
    user_id: str,
    *,
    preview: Preview,
    language: str,
) -> Notification:
    """Return the notification of an entry for a user, whose devices show it in `language`."""
    title, body = _compose_texts(entry, context, preview, language)
    return Notification(
        collapse_id=conversation_id,
        conversation_id=conversation_id,
        seq=entry.seq,
        title=title,
        body=body,
        badge=context.recipients.get(user_id, NO_MEMBER).badge,
        lifetime_s=LIFETIME_S,
        language=language,
    )


def compose_withdrawal(conversation_id: str, seq: int, badge: int) -> Withdrawal:
    """Return the push that withdraws the notifications of a conversation up to `seq`."""
    return Withdrawal(conversation_id, conversation_id, seq, badge, LIFETIME_S)


def compose_badge(conversation_id: str, seq: int, badge: int) -> Withdrawal:
    """Return the push that changes the badge; a newer notification of the conversation stays."""
    return Withdrawal(BADGE_COLLAPSE_ID, conversation_id, seq, badge, LIFETIME_S)


def compose_test(language: str) -> Notification:
    """Return a notification with which a user tests the pushes to a device. It changes no badge."""
    return Notification("test", "", 0, texts_in(language).test, "", lifetime_s=0, language=language)


def _compose_texts(
    entry: NotifyingEntry, context: ConversationContext, preview: Preview, language: str
) -> tuple[str, str]:
    """Return title and body: the title names the group, or the author of a 1-1 conversation."""
    generic, author = new_message(language), cut(context.author_name, _MAX_NAME_LENGTH)
    if preview is Preview.NONE:
        return generic, ""
    in_named_group = context.is_group and bool(context.title)
    title = context.title if in_named_group else author
    if isinstance(entry.change, AddedToGroup):
        return title or generic, texts_in(language).added.format(name=author)
    text = _describe(entry.change, language) if preview is Preview.FULL else generic
    body = f"{author}: {text}" if in_named_group and author else text
    return title or generic, body


def _describe(change: NewMessage | NewReaction, language: str) -> str:
    texts = texts_in(language)
    match change:
        case NewReaction(emoji=emoji):
            return texts.reaction.format(emoji=emoji)
        case NewMessage(kind=ContentKind.TEXT, text=text):
            return cut(" ".join(text.split()), _MAX_TEXT_LENGTH)
        case NewMessage(kind=ContentKind.OPAQUE):
            return new_message(language)
        case NewMessage(kind=kind, text=text):
            return f"{_SYMBOLS[kind]} {cut(' '.join(text.split()), _MAX_TEXT_LENGTH) or texts.name_of(kind)}"

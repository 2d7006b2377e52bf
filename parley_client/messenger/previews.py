"""The newest message of each conversation, as the list of conversations shows it."""

from __future__ import annotations

from datetime import datetime

from parley_client.cli.formatting import describe_content
from parley_client.message import Message
from parley_client.messenger.conversation_state import ConversationState
from parley_client.messenger.model import MessengerModel
from parley_client.messenger.rows import describe_notice
from parley_client.messenger.terminal_text import one_line

# A preview is cut to so many characters; no list is as wide.
MAX_PREVIEW_CHARS = 80


def preview(model: MessengerModel, conversation: ConversationState) -> str:
    """Return the newest message or notice as one line, with its sender unless that is the other of two members."""
    item = conversation.view.newest_item
    if item is None:
        return ""
    if not isinstance(item, Message):
        return describe_notice(model, item.entry)
    text = one_line(describe_content(item.content), MAX_PREVIEW_CHARS) if item.content else "message deleted"
    is_named = conversation.is_group or item.actor_id == model.own_id
    return f"{model.display_name(item.actor_id)}: {text}" if is_named else text


def preview_time(conversation: ConversationState, now: datetime) -> str:
    """Return the time of the newest message, or its day if that is not today. `now` is in the local time zone."""
    item = conversation.view.newest_item
    if item is None:
        return ""
    time = item.time.astimezone(now.tzinfo)
    return f"{time:%H:%M}" if time.date() == now.date() else f"{time:%-d %b}"

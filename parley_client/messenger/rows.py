"""The rows of a conversation as plain data; comparing two lists of rows yields the lines to redraw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from parley.chat.v1 import entry_pb2
from parley.chat.v1.entry_pb2 import Content, Entry
from parley_client.cli.formatting import describe_content, summarize_reactions, user_colour
from parley_client.message import Message
from parley_client.messenger.conversation_state import ConversationState, OutgoingMessage
from parley_client.messenger.model import MessengerModel
from parley_client.messenger.pictures import PictureCells
from parley_client.messenger.terminal_text import normalized, one_line
from parley_client.view import DeliveryStatus, Notice

TICKS = {DeliveryStatus.SENT: "✓", DeliveryStatus.DELIVERED: "✓✓", DeliveryStatus.READ: "✓✓"}
SUMMARY_WIDTH = 60


@dataclass(frozen=True, slots=True)
class Mention:
    """The part of a row's text that names a member, from code point `start` to `end`; `is_own`: it names the user."""

    start: int
    end: int
    is_own: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a conversation. `key` is stable; `sender` is set on the first of several messages of one sender."""

    key: str
    text: str
    time: str = ""
    tick: str = ""
    read: bool = False
    sender: str = ""
    colour: str = ""
    quote: str = ""
    reactions: str = ""
    """The counted reactions."""
    label: str = ""
    """A remark after the text, such as "edited"."""
    dimmed: bool = False
    error: str = ""
    selectable: bool = True
    """True for messages; False for days and notices, which cannot be highlighted."""
    mentions: tuple[Mention, ...] = ()
    picture: PictureCells | None = None
    """The thumbnail of the message's file, or its placeholder."""


def conversation_rows(model: MessengerModel, conversation: ConversationState) -> list[Row]:
    """Return all rows of a conversation, oldest first."""
    shown: list[Row] = []
    sender, day = "", ""
    for item in conversation.view.timeline:
        time = item.time.astimezone()
        if (today := f"{time:%A, %-d %B %Y}") != day:
            day, sender = today, ""
            shown.append(Row(f"day {time:%Y%m%d}", day, selectable=False))
        if isinstance(item, Notice):
            sender = ""
            shown.append(
                Row(f"notice {item.seq}", describe_notice(model, item.entry), _format_time(time), selectable=False)
            )
        else:
            shown.append(_message_row(model, conversation, item, item.actor_id != sender))
            sender = item.actor_id
    shown += [
        _outgoing_row(model, conversation, message, sender != model.own_id and not n)
        for n, message in enumerate(conversation.outgoing)
    ]
    return shown


def find_message(conversation: ConversationState, key: str) -> Message | None:
    """Return the message with this row key, or None."""
    kind, _, seq = key.partition(" ")
    return conversation.view.message(int(seq)) if kind == "message" else None


def find_outgoing(conversation: ConversationState, key: str) -> OutgoingMessage | None:
    """Return the outgoing message with this row key, or None."""
    return next(
        (message for message in conversation.outgoing if key == f"outgoing {message.sending.client_message_id}"), None
    )


def summarize_message(model: MessengerModel, message: Message, width: int = SUMMARY_WIDTH) -> str:
    """Return the sender and the text of a message, cut to `width` characters."""
    text = one_line(describe_content(message.content), width) if message.content else "(deleted)"
    return f"{model.display_name(message.actor_id)}: {text}"


def _message_row(model: MessengerModel, conversation: ConversationState, message: Message, shows_sender: bool) -> Row:
    is_own = message.actor_id == model.own_id
    tick = conversation.view.delivery_status(message) if is_own else None
    missing_text = "message deleted" if message.deleted else "message expired"
    text, mentions = _content_text(message.content, model.own_id) if message.content is not None else (missing_text, ())
    return Row(
        f"message {message.seq}",
        text,
        _format_time(message.time.astimezone()),
        TICKS[tick] if tick else "",
        tick is DeliveryStatus.READ,
        model.display_name(message.actor_id) if shows_sender else "",
        user_colour(message.actor_id),
        _quoted_text(model, conversation, message.content),
        _reactions_text(message),
        "edited" if message.edited else "",
        dimmed=message.content is None,
        mentions=mentions,
        picture=model.thumbnails.picture_of(message) if model.thumbnails is not None else None,
    )


def _outgoing_row(
    model: MessengerModel, conversation: ConversationState, outgoing: OutgoingMessage, shows_sender: bool
) -> Row:
    text, mentions = _content_text(outgoing.shown_content or outgoing.content, model.own_id)
    return Row(
        f"outgoing {outgoing.sending.client_message_id}",
        text,
        tick="✗" if outgoing.error else "…",
        sender="You" if shows_sender else "",
        colour=user_colour(model.own_id),
        quote=_quoted_text(model, conversation, outgoing.content),
        mentions=mentions,
        label="" if outgoing.error else "sending",
        dimmed=not outgoing.error,
        error=f"Not sent. {outgoing.error} Enter: send again; d: discard." if outgoing.error else "",
    )


def _content_text(content: Content, own_id: str) -> tuple[str, tuple[Mention, ...]]:
    """Return the text of a content and its mentions. Each part is normalized alone, because that may change lengths."""
    body, text, taken = describe_content(content), "→ " if content.forwarded else "", 0
    mentions = []
    for mention in sorted(content.text.mentions, key=lambda mention: mention.offset):
        end = mention.offset + mention.length
        if mention.offset < taken or end > len(body):
            continue  # overlaps another one, or lies outside of the text
        text += normalized(body[taken : mention.offset])
        name = normalized(body[mention.offset : end])
        mentions.append(Mention(len(text), len(text) + len(name), mention.user_id == own_id))
        text, taken = text + name, end
    return text + normalized(body[taken:]), tuple(mentions)


def _quoted_text(model: MessengerModel, conversation: ConversationState, content: Content | None) -> str:
    if content is None or not content.reply_to_seq:
        return ""
    quoted = conversation.view.message(content.reply_to_seq)
    return summarize_message(model, quoted) if quoted else "an earlier message"


def _reactions_text(message: Message) -> str:
    return summarize_reactions(one_line(emoji) for emoji in message.reactions.values())


def _format_time(time: datetime) -> str:
    return f"{time:%H:%M}"


def describe_notice(model: MessengerModel, entry: Entry) -> str:
    """Return a change of the members, the title or the settings as a sentence."""
    actor = model.display_name(entry.actor_id)
    if entry.HasField("membership_changed"):
        return f"{actor} {' and '.join(_describe_membership_change(model, entry.membership_changed, entry.actor_id))}"
    return f"{actor} {' and '.join(_describe_updates(entry.conversation_updated)) or 'changed the settings'}"


def _describe_membership_change(
    model: MessengerModel, changed: entry_pb2.MembershipChanged, actor: str
) -> Iterator[str]:
    kinds = entry_pb2.MembershipChanged
    others = [member.user_id for member in changed.members if member.user_id != actor]
    names = ", ".join("you" if user == model.own_id else model.display_name(user) for user in others)
    promoted = all(member.role == entry_pb2.ROLE_ADMIN for member in changed.members)
    if changed.kind == kinds.KIND_CREATED:
        yield "started this conversation"
    elif changed.kind == kinds.KIND_ADDED:
        yield f"added {names}"
    elif changed.kind == kinds.KIND_REMOVED:
        yield f"removed {names}"
    elif changed.kind == kinds.KIND_LEFT:
        yield "left"
        if names:
            yield f"made {names} admin"
    else:
        yield f"made {names or 'themselves'} {'admin' if promoted else 'a plain member'}"


def _describe_updates(updated: entry_pb2.ConversationUpdated) -> Iterator[str]:
    if updated.HasField("title"):
        yield f"renamed the group to {one_line(updated.title)}"
    if updated.HasField("picture_media_id"):
        yield "changed the picture"
    if updated.HasField("admins_only_send"):
        yield "let only admins write" if updated.admins_only_send else "let all members write"
    if updated.HasField("retention"):
        yield "changed the retention of messages"

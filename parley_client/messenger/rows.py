"""The lines of a conversation as plain data: what changes on the screen is what differs between two lists of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from parley.chat.v1 import entry_pb2
from parley.chat.v1.entry_pb2 import Content, Entry
from parley_client.cli.formatting import user_colour, summarize_reactions, describe_content
from parley_client.message import Message
from parley_client.messenger.conversation_state import Chat, Outgoing
from parley_client.messenger.model import Messenger
from parley_client.messenger.terminal_text import flat, tidy
from parley_client.view import Notice, Tick

TICKS = {Tick.SENT: "✓", Tick.DELIVERED: "✓✓", Tick.READ: "✓✓"}
QUOTED = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a conversation. `key` stays; `title` is the sender's name where another begins to speak."""

    key: str
    text: str
    time: str = ""
    tick: str = ""
    read: bool = False
    title: str = ""
    colour: str = ""
    quote: str = ""
    after: str = ""
    """Reactions."""
    mark: str = ""
    """What happened to the text, such as "edited"."""
    faint: bool = False
    trouble: str = ""
    said: bool = True
    """Whether somebody said it; False: it tells what happened, and cannot be chosen."""


def rows(model: Messenger, chat: Chat) -> list[Row]:
    """All rows, the newest last."""
    shown: list[Row] = []
    speaker, day = "", ""
    for line in chat.view.lines:
        time = line.time.astimezone()
        if (today := f"{time:%A, %-d %B %Y}") != day:
            day, speaker = today, ""
            shown.append(Row(f"day {time:%Y%m%d}", day, said=False))
        if isinstance(line, Notice):
            speaker = ""
            shown.append(Row(f"notice {line.seq}", _deed(model, line.entry), _clock(time), said=False))
        else:
            shown.append(_message(model, chat, line, line.actor_id != speaker))
            speaker = line.actor_id
    shown += [_outgoing(model, chat, each, speaker != model.me and not n) for n, each in enumerate(chat.outgoing)]
    return shown


def message_of(chat: Chat, key: str) -> Message | None:
    """The message a row shows."""
    kind, _, seq = key.partition(" ")
    return chat.view.message(int(seq)) if kind == "message" else None


def outgoing_of(chat: Chat, key: str) -> Outgoing | None:
    """The message on its way that a row shows."""
    return next((each for each in chat.outgoing if key == f"outgoing {each.sending.client_message_id}"), None)


def brief(model: Messenger, message: Message, width: int = QUOTED) -> str:
    """Who said what, in a few words."""
    said = tidy(said_of(message.content)) if message.content else "(deleted)"
    return f"{model.name(message.actor_id)}: {said[: width - 1] + '…' if len(said) > width else said}"


def said_of(content: Content) -> str:
    """What a content says, in words."""
    return describe_content(content)


def _message(model: Messenger, chat: Chat, message: Message, begins: bool) -> Row:
    mine = message.actor_id == model.me
    tick = chat.view.tick(message) if mine else None
    gone = "message deleted" if message.deleted else "no longer kept"
    text = _text(message.content) if message.content is not None else gone
    return Row(
        f"message {message.seq}",
        text,
        _clock(message.time.astimezone()),
        TICKS[tick] if tick else "",
        tick is Tick.READ,
        model.name(message.actor_id) if begins else "",
        user_colour(message.actor_id),
        _quote(model, chat, message.content),
        _reactions(message),
        "edited" if message.edited else "",
        faint=message.content is None,
    )


def _outgoing(model: Messenger, chat: Chat, outgoing: Outgoing, begins: bool) -> Row:
    mark = "" if outgoing.trouble else "sending"
    return Row(
        f"outgoing {outgoing.sending.client_message_id}",
        _text(outgoing.content),
        tick="✗" if outgoing.trouble else "…",
        title="You" if begins else "",
        colour=user_colour(model.me),
        quote=_quote(model, chat, outgoing.content),
        mark=mark,
        faint=not outgoing.trouble,
        trouble=f"Not sent. {outgoing.trouble} Enter: send again; d: forget it." if outgoing.trouble else "",
    )


def _text(content: Content) -> str:
    return ("→ " if content.forwarded else "") + flat(said_of(content))


def _quote(model: Messenger, chat: Chat, content: Content | None) -> str:
    if content is None or not content.reply_to_seq:
        return ""
    answered = chat.view.message(content.reply_to_seq)
    return brief(model, answered) if answered else "an earlier message"


def _reactions(message: Message) -> str:
    return summarize_reactions(flat(emoji) for emoji in message.reactions.values())


def _clock(time: datetime) -> str:
    return f"{time:%H:%M}"


def _deed(model: Messenger, entry: Entry) -> str:
    who = model.name(entry.actor_id)
    if entry.HasField("membership_changed"):
        return f"{who} {' and '.join(_members(model, entry.membership_changed, entry.actor_id))}"
    return f"{who} {' and '.join(_updates(entry.conversation_updated)) or 'changed the settings'}"


def _members(model: Messenger, changed: entry_pb2.MembershipChanged, actor: str) -> Iterator[str]:
    kinds = entry_pb2.MembershipChanged
    others = [member.user_id for member in changed.members if member.user_id != actor]
    names = ", ".join("you" if user == model.me else model.name(user) for user in others)
    promoted = all(member.role == entry_pb2.ROLE_ADMIN for member in changed.members)
    if changed.kind == kinds.KIND_CREATED:
        yield "began this conversation"
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


def _updates(updated: entry_pb2.ConversationUpdated) -> Iterator[str]:
    if updated.HasField("title"):
        yield f"called the group {tidy(updated.title)}"
    if updated.HasField("picture_media_id"):
        yield "changed the picture"
    if updated.HasField("admins_only_send"):
        yield "let only admins write" if updated.admins_only_send else "let everybody write"
    if updated.HasField("retention"):
        yield "changed how long messages are kept"

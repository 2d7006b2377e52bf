"""The one line that tells how things stand: the connection, notices, who types, how far the last message has got."""

from __future__ import annotations

from rich.text import Text

from parley_client.events import ConnectionState
from parley_client.messenger.conversation_state import Chat
from parley_client.messenger.model import Messenger
from parley_client.view import Tick

_TOLD = {Tick.SENT: "✓ sent", Tick.DELIVERED: "✓✓ delivered", Tick.READ: "✓✓ read"}


def status(model: Messenger) -> Text:
    """What matters most comes first, for a narrow terminal shows the beginning."""
    parts = [_connection(model), Text(model.notice, style="bold"), _typing(model), Text(_last(model), style="dim")]
    hint = Text("F1: help  Ctrl+Q: leave", style="dim")
    return Text("  ").join([*[part for part in parts if part.plain], hint])


def _connection(model: Messenger) -> Text:
    if model.connected:
        return Text("" if model.listed else "loading…", style="dim")
    waiting = f", {model.unsent} to be sent" if model.unsent else ""
    word = "connecting" if model.connection is ConnectionState.CONNECTING else "reconnecting"
    return Text(f"{word}…{waiting}", style="bold magenta")


def _typing(model: Messenger) -> Text:
    typists = sorted(model.opened.view.typing - {model.me}) if model.opened else []
    names = [model.name(user) for user in typists[:3]]
    return Text(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} typing…" if names else "", style="green")


def _last(model: Messenger) -> str:
    chat = model.opened
    if chat is None or any(not each.trouble for each in chat.outgoing):
        return "… sending" if chat is not None else ""
    return _tick(model, chat)


def _tick(model: Messenger, chat: Chat) -> str:
    messages = chat.view.messages
    if not messages or messages[-1].actor_id != model.me:
        return ""
    return _TOLD[chat.view.tick(messages[-1])]

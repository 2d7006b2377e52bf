"""The status line: the connection, the notice, typing users and the delivery state of the last message."""

from __future__ import annotations

import math

from rich.text import Text

from parley_client.events import ConnectionState
from parley_client.messenger.conversation_state import ConversationState
from parley_client.messenger.model import MessengerModel
from parley_client.view import DeliveryStatus

_TICK_LABELS = {DeliveryStatus.SENT: "✓ sent", DeliveryStatus.DELIVERED: "✓✓ delivered", DeliveryStatus.READ: "✓✓ read"}


def status_line(model: MessengerModel) -> Text:
    """Return the status line, most important part first, because a narrow terminal cuts its end."""
    parts = [
        _connection_text(model),
        Text(model.notice, style="bold"),
        Text(model.transfers.describe(), style="cyan"),
        _typing_text(model),
        Text(_delivery_text(model), style="dim"),
    ]
    hint = Text("F1: help  Ctrl+Q: quit", style="dim")
    return Text("  ").join([*[part for part in parts if part.plain], hint])


def _connection_text(model: MessengerModel) -> Text:
    if model.connected and not model.silent_for_s:
        return Text("" if model.list_loaded else "loading…", style="dim")
    unsent = f", {model.unsent_count} to be sent" if model.unsent_count else ""
    return Text(f"{_link_text(model)}{unsent}", style="bold magenta")


def _link_text(model: MessengerModel) -> str:
    if model.connected:
        return f"no answer for {model.silent_for_s:.0f} s…"
    if model.connection is ConnectionState.CONNECTING:
        return "connecting…"
    wait_s = math.ceil(model.retry_in_s)
    return f"reconnecting… next attempt in {wait_s} s" if wait_s else "reconnecting…"


def _typing_text(model: MessengerModel) -> Text:
    typists = sorted(model.open_conversation.view.typing - {model.own_id}) if model.open_conversation else []
    names = [model.display_name(user) for user in typists[:3]]
    return Text(f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} typing…" if names else "", style="green")


def _delivery_text(model: MessengerModel) -> str:
    conversation = model.open_conversation
    if conversation is None or any(not message.error for message in conversation.outgoing):
        return "… sending" if conversation is not None else ""
    return _last_message_tick(model, conversation)


def _last_message_tick(model: MessengerModel, conversation: ConversationState) -> str:
    messages = conversation.view.messages
    if not messages or messages[-1].actor_id != model.own_id:
        return ""
    return _TICK_LABELS[conversation.view.delivery_status(messages[-1])]

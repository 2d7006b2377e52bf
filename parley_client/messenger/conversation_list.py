"""The widget that lists conversations with their unread counts and newest messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rich.text import Text
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from parley_client.messenger.model import MessengerModel
from parley_client.messenger.previews import preview, preview_time
from parley_client.presence_state import PresenceState

# "14:02" or "31 Dec".
TIME_WIDTH = 6
_PRESENCE_MARKS = {PresenceState.ONLINE: "   ● ", PresenceState.BACKGROUND: "   ○ ", PresenceState.OFFLINE: " " * 5}


@dataclass(frozen=True, slots=True)
class _ListItem:
    id: str
    is_open: bool
    pinned: bool
    dimmed: bool
    """True if the conversation is muted or the user left it."""
    unread: int
    title: str

    state: PresenceState
    """The presence of the other member of a 1-1 conversation."""
    time: str
    preview: str

    def render(self) -> Text:
        """Return two lines; title and preview end them, because their width depends on their script."""
        mark = "›" if self.is_open else "*" if self.pinned else " "
        count = "99+" if self.unread > 99 else str(self.unread or "")
        lines = Text(no_wrap=True, overflow="ellipsis", style="dim" if self.dimmed else "")
        lines.append(mark, style="bold")
        lines.append(f"{count:>3} ", style="bold green")
        lines.append(f"{self.title}\n", style="bold" if self.unread else "")
        lines.append(_PRESENCE_MARKS[self.state], style="green")
        return lines.append(f"{self.time:<{TIME_WIDTH}} {self.preview}", style="dim")


class ConversationList(OptionList):
    """The model's conversations, either the archived ones or the others."""

    def __init__(self, model: MessengerModel) -> None:
        super().__init__(id="conversations", markup=False)
        self._model = model
        self._items: list[_ListItem] = []
        self.show_archived = False

    def refresh_list(self) -> None:
        """Show the current state of the model and keep the highlighted conversation."""
        lines = [
            self._item(conversation.id)
            for conversation in self._model.sorted_conversations(archived=self.show_archived)
        ]
        if lines == self._items:
            return
        chosen = self.highlighted_option.id if self.highlighted_option else None
        if [line.id for line in lines] == [line.id for line in self._items]:
            for index, line in enumerate(lines):
                if line != self._items[index]:
                    self.replace_option_prompt_at_index(index, line.render())
        else:
            self.clear_options()
            self.add_options(Option(line.render(), id=line.id) for line in lines)
        self._items = lines
        self.highlighted = next((n for n, line in enumerate(lines) if line.id == chosen), 0 if lines else None)

    def highlight(self, conversation_id: str) -> None:
        """Highlight a conversation."""
        for index, line in enumerate(self._items):
            if line.id == conversation_id:
                self.highlighted = index

    def neighbour(self, conversation_id: str, step: int) -> str:
        """Return the id of the conversation `step` lines below; empty: the list is empty."""
        ids = [line.id for line in self._items]
        if not ids:
            return ""
        return ids[(ids.index(conversation_id) + step) % len(ids)] if conversation_id in ids else ids[0]

    def _item(self, conversation_id: str) -> _ListItem:
        conversation = self._model.conversations[conversation_id]
        settings, is_open = conversation.view.settings, self._model.open_conversation is conversation
        peer_id = "" if conversation.is_group else conversation.peer_id
        faint = bool(settings.mute_until) or conversation.view.is_former_member
        return _ListItem(
            conversation.id,
            is_open,
            settings.pinned,
            faint,
            conversation.view.unread_count,
            self._model.title(conversation),
            self._model.presence.state(peer_id),
            preview_time(conversation, datetime.now().astimezone()),
            preview(self._model, conversation),
        )

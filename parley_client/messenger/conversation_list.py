"""The list of conversations: unread counts, and names in one column."""

from __future__ import annotations

from dataclasses import dataclass

from rich.text import Text
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from parley_client.messenger.model import Messenger


@dataclass(frozen=True, slots=True)
class _Line:
    id: str
    open: bool
    pinned: bool
    faint: bool
    """Muted, or left."""
    unread: int
    title: str

    def draw(self) -> Text:
        """Mark, unread count, name; the name, of whatever script, comes last."""
        mark = "›" if self.open else "*" if self.pinned else " "
        count = "99+" if self.unread > 99 else str(self.unread or "")
        line = Text(no_wrap=True, overflow="ellipsis", style="dim" if self.faint else "")
        line.append(mark, style="bold")
        line.append(f"{count:>3} ", style="bold green")
        return line.append(self.title, style="bold" if self.unread else "")


class ChatList(OptionList):
    """Shows the conversations of the model, the archived ones on demand."""

    def __init__(self, model: Messenger) -> None:
        super().__init__(id="chats", markup=False)
        self._model = model
        self._shown: list[_Line] = []
        self.archived = False

    def show(self) -> None:
        """Show what the model has now; what was chosen stays chosen."""
        lines = [self._line(chat.id) for chat in self._model.listing(archived=self.archived)]
        if lines == self._shown:
            return
        chosen = self.highlighted_option.id if self.highlighted_option else None
        if [line.id for line in lines] == [line.id for line in self._shown]:
            for place, line in enumerate(lines):
                if line != self._shown[place]:
                    self.replace_option_prompt_at_index(place, line.draw())
        else:
            self.clear_options()
            self.add_options(Option(line.draw(), id=line.id) for line in lines)
        self._shown = lines
        self.highlighted = next((n for n, line in enumerate(lines) if line.id == chosen), 0 if lines else None)

    def choose(self, conversation_id: str) -> None:
        """Choose this one."""
        for place, line in enumerate(self._shown):
            if line.id == conversation_id:
                self.highlighted = place

    def neighbour(self, conversation_id: str, step: int) -> str:
        """The one that stands `step` below; empty: there is none."""
        ids = [line.id for line in self._shown]
        if not ids:
            return ""
        return ids[(ids.index(conversation_id) + step) % len(ids)] if conversation_id in ids else ids[0]

    def _line(self, conversation_id: str) -> _Line:
        chat = self._model.chats[conversation_id]
        settings, is_open = chat.view.settings, self._model.opened is chat
        faint = bool(settings.mute_until) or chat.view.former
        return _Line(chat.id, is_open, settings.pinned, faint, chat.view.unread_count, self._model.title(chat))

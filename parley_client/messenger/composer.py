"""The text area for new messages: Enter sends, Ctrl+J starts a new line."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea


class Composer(TextArea):
    """A text area that grows up to five lines and calls `send` with its text on Enter.

    Keys may arrive in a burst, from a slow link or a program. The composer runs the action of each key before it
    handles the next key, so that the order is kept. Priority bindings, bindings of the application and posted messages
    would run before earlier letters or after later ones.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", show=False),
        Binding("ctrl+j,alt+enter,shift+enter", "new_line", show=False),
    ]

    class LeftAbove(Message):
        """Posted when the cursor moves up from an empty composer."""

    def __init__(self, send: Callable[[str], None]) -> None:
        super().__init__(
            id="composer", soft_wrap=True, tab_behavior="focus", theme="css", compact=True, highlight_cursor_line=False
        )
        self._on_send = send

    def fill(self, text: str) -> None:
        """Replace the text and move the cursor to its end."""
        if text != self.text:
            self.text = text
        self.move_cursor(self.document.end)

    def action_send(self) -> None:
        """Pass the text to `send` unless it is blank."""
        if text := self.text.strip():
            self._on_send(text)

    def action_new_line(self) -> None:
        """Insert a line break."""
        self.insert("\n")

    def action_cursor_up(self, select: bool = False) -> None:
        """Move the cursor up, or post LeftAbove if the composer is empty."""
        if self.text:
            super().action_cursor_up(select)
        else:
            self.post_message(self.LeftAbove())

    async def on_key(self, event: events.Key) -> None:
        """Run the action bound to the key before the next key is handled."""
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if await self.app.run_action(binding.action, self):
                event.prevent_default().stop()
                return

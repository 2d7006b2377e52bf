"""Where one writes: Enter sends, Ctrl+J begins another line."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea


class Composer(TextArea):
    """As high as what is written, up to five lines. `send` is given what the person wants to be sent.

    Keys may come in a burst, from a slow link or a program, and each is done in its turn: what a key does is done by
    the time the next one is looked at. A binding that has priority, or that is left to the application, would be done
    before letters that came earlier, or behind letters that came later; a message would too.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", show=False),
        Binding("ctrl+j,alt+enter,shift+enter", "new_line", show=False),
    ]

    class Above(Message):
        """The person wants to go up to the messages."""

    def __init__(self, send: Callable[[str], None]) -> None:
        super().__init__(
            id="composer", soft_wrap=True, tab_behavior="focus", theme="css", compact=True, highlight_cursor_line=False
        )
        self._send = send

    def fill(self, text: str) -> None:
        """Put something in to go on with."""
        if text != self.text:
            self.text = text
        self.move_cursor(self.document.end)

    def action_send(self) -> None:
        """Have what is written sent."""
        if text := self.text.strip():
            self._send(text)

    def action_new_line(self) -> None:
        """Begin another line."""
        self.insert("\n")

    def action_cursor_up(self, select: bool = False) -> None:
        """Up from an empty composer goes to the messages."""
        if self.text:
            super().action_cursor_up(select)
        else:
            self.post_message(self.Above())

    async def on_key(self, event: events.Key) -> None:
        """Do what the key is bound to here and now."""
        for binding in self._bindings.key_to_bindings.get(event.key, ()):
            if await self.app.run_action(binding.action, self):
                event.prevent_default().stop()
                return

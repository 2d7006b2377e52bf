"""The text area for new messages: Enter sends, Ctrl+J starts a new line."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from parley_client.messenger.text_input import handle_key

# A control character that was pasted is sent, but drawn as a picture: the terminal would execute it.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code != ord("\t")} | {0x7F: 0x2421}
_PICTURES |= dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)


class Composer(TextArea):
    """A text area that grows up to five lines and calls `send` with its text on Enter.

    It calls `leave_above` when the cursor moves up from an empty composer.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", show=False),
        Binding("ctrl+j,alt+enter,shift+enter", "new_line", show=False),
    ]

    def __init__(self, send: Callable[[str], None], leave_above: Callable[[], None]) -> None:
        super().__init__(
            id="composer", soft_wrap=True, tab_behavior="focus", theme="css", compact=True, highlight_cursor_line=False
        )
        self._on_send = send
        self._on_leave_above = leave_above

    def insert_typed(self, text: str) -> None:
        """Insert text in place of the selection."""
        self.replace(text, *self.selection, maintain_selection_offset=False)

    async def on_key(self, event: events.Key) -> None:
        """Handle a key before the next one."""
        await handle_key(self, self._bindings, event, self.insert_typed)

    def fill(self, text: str) -> None:
        """Replace the text and move the cursor to its end."""
        if text != self.text:
            self.text = text
        self.move_cursor(self.document.end)

    def action_send(self) -> None:
        """Pass the text to `send`, exactly as it was typed, unless it is blank."""
        if self.text.strip():
            self._on_send(self.text)

    def action_new_line(self) -> None:
        """Insert a line break."""
        self.insert("\n")

    def action_cursor_up(self, select: bool = False) -> None:
        """Move the cursor up, or call `leave_above` if the composer is empty."""
        if self.text:
            super().action_cursor_up(select)
        else:
            self._on_leave_above()

    def get_line(self, line_index: int) -> Text:
        """Return a line as it is drawn."""
        return Text(self.document.get_line(line_index).translate(_PICTURES), end="", no_wrap=True)

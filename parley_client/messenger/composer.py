"""Where one writes: Enter sends, Ctrl+J begins another line."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

LINES = 5


class Composer(TextArea):
    """As high as what is written, up to five lines."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", show=False, priority=True),
        Binding("ctrl+j,alt+enter,shift+enter", "new_line", show=False, priority=True),
    ]

    class Sent(Message):
        """The person wants this to be sent."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Above(Message):
        """The person wants to go up to the messages."""

    def __init__(self) -> None:
        super().__init__(
            id="composer", soft_wrap=True, tab_behavior="focus", theme="css", compact=True, highlight_cursor_line=False
        )

    def fill(self, text: str) -> None:
        """Put something in to go on with."""
        if text != self.text:
            self.text = text
        self.move_cursor(self.document.end)

    def action_send(self) -> None:
        """Send what is written, and begin anew."""
        text = self.text.strip()
        if text:
            self.post_message(self.Sent(text))

    def action_new_line(self) -> None:
        """Begin another line."""
        self.insert("\n")

    def on_key(self, event: events.Key) -> None:
        """Up from the first line goes to the messages."""
        if event.key == "up" and self.cursor_location[0] == 0 and not self.text:
            event.prevent_default().stop()
            self.post_message(self.Above())

"""The text that keys type, and the handling of keys that all text fields of the messenger share."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from textual import events
from textual.binding import BindingsMap
from textual.widget import Widget
from textual.widgets import Input

from parley_client.cli.text import printable

# Control characters and surrogates.
_UNTYPED = ("Cc", "Cs")


async def handle_key(field: Widget, bindings: BindingsMap, event: events.Key, insert: Callable[[str], None]) -> None:
    """Run the action that `bindings` of `field` have for the key, or `insert` its text if textual would ignore it.

    Keys may arrive in a burst, from a slow link or a program. The action of each key runs here, before the next key is
    handled, so that the order is kept. Priority bindings, bindings of the application and posted messages would run
    before earlier letters or after later ones.

    Textual types only the characters of `str.isprintable`, which excludes joiners, wide and no-break spaces, tags, and
    characters newer than Python's tables.
    """
    if field.screen.focused is not field:
        # An earlier key moved the focus: the application runs the action that the focused widget binds to this one.
        event.prevent_default()
        return
    for binding in bindings.key_to_bindings.get(event.key, ()):
        if await field.app.run_action(binding.action, field):
            event.prevent_default().stop()
            return
    text = _typed_text(event)
    if text and not event.is_printable:
        insert(text)
        event.prevent_default().stop()


class TextField(Input):
    """A line of text that accepts every character."""

    async def on_key(self, event: events.Key) -> None:
        """Handle a key before the next one."""
        await handle_key(self, self._bindings, event, lambda text: self.replace(text, *self.selection))

    def on_paste(self, event: events.Paste) -> None:
        """Remove pasted control characters, which the terminal would execute when the field is drawn."""
        event.text = printable(event.text)


def _typed_text(event: events.Key) -> str:
    text = event.character or ""
    return "" if any(unicodedata.category(char) in _UNTYPED for char in text) else text

"""Text that a terminal sends while a user types in the messenger arrives unchanged in every text field."""

from __future__ import annotations

import pytest
from textual import events
from textual._xterm_parser import XTermParser
from textual.app import App, ComposeResult

from parley_client.messenger.composer import Composer
from parley_client.messenger.text_input import TextField

TYPED = {
    "Persian": "می‌خواهم",
    "a joined emoji": "🏳️‍🌈 👨‍👩‍👧 👩🏽‍🚀",
    "a flag of tags": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "Sinhala": "ශ්‍රී",
    "marks of direction": "a\u200eb\u200fc\u061cd",
    "spaces": "a\u00a0b\u3000c\u202fd\u2009e",
    "an emoji of Unicode 16": "\U0001fae9",
    "a private use character": "\uf8ff",
    "a soft hyphen": "a\u00adb",
    "plain text": 'Hello, "world"? [1] #2',
}


class FieldsApp(App[None]):
    """An app with every kind of text field of the messenger."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []
        self.composer = Composer(self.sent.append, lambda: None)
        self.field = TextField()

    def compose(self) -> ComposeResult:
        yield self.composer
        yield self.field

    @property
    def screen_text(self) -> str:
        return "\n".join(strip.text for strip in self.screen._compositor.render_strips())

    def type(self, data: str) -> None:
        """Handle what a terminal sends."""
        for message in XTermParser().feed(data):
            self.post_message(message)


@pytest.mark.parametrize("text", TYPED.values(), ids=TYPED)
async def test_typed_text_is_sent_unchanged(text: str) -> None:
    app = FieldsApp()
    async with app.run_test() as pilot:
        app.composer.focus()
        await pilot.pause()
        app.type(f"{text}\r")
        await pilot.pause()
        assert app.sent == [text]


@pytest.mark.parametrize("text", TYPED.values(), ids=TYPED)
async def test_text_typed_into_dialog_field_stays_unchanged(text: str) -> None:
    app = FieldsApp()
    async with app.run_test() as pilot:
        app.field.focus()
        await pilot.pause()
        app.type(text)
        await pilot.pause()
        assert app.field.value == text


async def test_typed_joiner_replaces_selection_and_follows_cursor() -> None:
    app = FieldsApp()
    async with app.run_test() as pilot:
        for field in (app.composer, app.field):
            field.focus()
            await pilot.pause()
            app.type("ab\x1b[D\u200cx\x1b[1;2D\x1b[1;2D\u200d")
            await pilot.pause()
        assert (app.composer.text, app.field.value) == ("a\u200db", "a\u200db")


async def test_spaces_around_typed_text_are_sent_but_blank_text_is_not() -> None:
    app = FieldsApp()
    async with app.run_test() as pilot:
        app.composer.focus()
        await pilot.pause()
        app.type(" \u3000\r")
        await pilot.pause()
        assert app.sent == []
        app.composer.fill("")
        app.type("  indented \r")
        await pilot.pause()
        assert app.sent == ["  indented "]


async def test_pasted_control_characters_do_not_reach_terminal() -> None:
    pasted = "a\x1b[31mb\x07\x9b\u202ec"
    app = FieldsApp()
    async with app.run_test() as pilot:
        for field in (app.composer, app.field):
            field.focus()
            await pilot.pause()
            app.post_message(events.Paste(pasted))
            await pilot.pause()
        assert not set("\x1b\x07\x9b\u202e") & set(app.screen_text), ascii(app.screen_text)
        app.composer.focus()
        await pilot.press("enter")
        assert app.sent == [pasted]

"""Small screens over the messenger: a choice, a form, the keys, and what was found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option


class Dialog(ModalScreen[str | None]):
    """A box in the middle; Esc gives None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]


class Choice(Dialog):
    """One of several: gives its key. `choices` are (key, words)."""

    def __init__(self, title: str, choices: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._heading = title
        self._choices = choices

    def compose(self) -> ComposeResult:
        """A title and a list."""
        with Vertical(classes="box"):
            yield Label(Text(self._heading, no_wrap=True, overflow="ellipsis"), classes="title")
            yield OptionList(*[Option(Text(words), id=key) for key, words in self._choices], markup=False)
            yield Label("Enter: choose   Esc: back", classes="hint")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Chosen."""
        self.dismiss(event.option_id)


class Form(ModalScreen[tuple[str, ...] | None]):
    """Fields to fill in: gives what was written, or None. Enter goes to the next field, and from the last one on."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def __init__(self, title: str, fields: Sequence[str], values: Sequence[str] = ()) -> None:
        super().__init__()
        self._heading = title
        self._fields = fields
        self._values = [*values, *[""] * (len(fields) - len(values))]

    def compose(self) -> ComposeResult:
        """A title and a line for each field."""
        with Vertical(classes="box"):
            yield Label(Text(self._heading, no_wrap=True, overflow="ellipsis"), classes="title")
            for field, value in zip(self._fields, self._values, strict=True):
                yield Label(field)
                yield Input(value, compact=True)
            yield Label("Enter: go on   Esc: back", classes="hint")

    def on_input_submitted(self) -> None:
        """To the next empty field, or done."""
        inputs = list(self.query(Input))
        empty = next((each for each in inputs if not each.value.strip()), None)
        if empty is not None:
            empty.focus()
        else:
            self.dismiss(tuple(each.value.strip() for each in inputs))


class Page(Dialog):
    """Something to read; any of Esc, Enter, q and F1 closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,f1", "dismiss(None)", show=False)]

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self._heading = title
        self._text = text

    def compose(self) -> ComposeResult:
        """A title and the text."""
        with VerticalScroll(classes="box"):
            yield Label(self._heading, classes="title", markup=False)
            yield Static(self._text)
            yield Label("Esc: back", classes="hint")


class Search(Dialog):
    """Words in, messages out: gives the key of the one that was chosen. `find` gives (key, words), or a sentence."""

    def __init__(self, find: Callable[[str], Awaitable[list[tuple[str, str]] | str]]) -> None:
        super().__init__()
        self._find = find

    def compose(self) -> ComposeResult:
        """A line to write in, and what was found."""
        with Vertical(classes="box wide"):
            yield Label("Search in all conversations", classes="title")
            yield Input(placeholder="words that all occur in the message", compact=True)
            yield Label("", id="told", markup=False)
            yield OptionList(markup=False)
            yield Label("Enter: search, then go to the message   Esc: back", classes="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search, beside the rest."""
        if event.value.strip():
            self.query_one("#told", Label).update("Searching…")
            self.run_worker(self._search(event.value.strip()), exclusive=True)

    async def _search(self, words: str) -> None:
        found = await self._find(words)
        listed, told = self.query_one(OptionList), self.query_one("#told", Label)
        listed.clear_options()
        if isinstance(found, str):
            told.update(found)
            return
        told.update(f"{len(found)} found" if found else "Nothing was found. All the words must occur in one message.")
        for key, said in found:
            listed.add_option(Option(Text(said, no_wrap=True, overflow="ellipsis"), id=key))
        if found:
            listed.highlighted = 0
            listed.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go there."""
        self.dismiss(event.option_id)

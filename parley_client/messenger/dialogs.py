"""The modal dialogs of the messenger: a choice, a form, a text and a search."""

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
    """A centred modal dialog; Esc closes it with the result None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]


class ChoiceDialog(Dialog):
    """A list of choices, given as (key, label); the result is the selected key."""

    def __init__(self, title: str, choices: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._heading = title
        self._choices = choices

    def compose(self) -> ComposeResult:
        """Lay out the title, the choices and the key hint."""
        with Vertical(classes="box"):
            yield Label(Text(self._heading, no_wrap=True, overflow="ellipsis"), classes="title")
            yield OptionList(*[Option(Text(query), id=key) for key, query in self._choices], markup=False)
            yield Label("Enter: choose   Esc: back", classes="hint")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Close with the key of the selected choice."""
        self.dismiss(event.option_id)


class FormDialog(ModalScreen[tuple[str, ...] | None]):
    """A form of text fields; the result is their values, or None. Enter goes to the next empty field or submits."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def __init__(self, title: str, fields: Sequence[str], values: Sequence[str] = ()) -> None:
        super().__init__()
        self._heading = title
        self._fields = fields
        self._values = [*values, *[""] * (len(fields) - len(values))]

    def compose(self) -> ComposeResult:
        """Lay out the title, the fields and the key hint."""
        with Vertical(classes="box"):
            yield Label(Text(self._heading, no_wrap=True, overflow="ellipsis"), classes="title")
            for field, value in zip(self._fields, self._values, strict=True):
                yield Label(field)
                yield Input(value, compact=True)
            yield Label("Enter: next   Esc: back", classes="hint")

    def on_input_submitted(self) -> None:
        """Focus the next empty field, or close with the values."""
        inputs = list(self.query(Input))
        empty = next((field for field in inputs if not field.value.strip()), None)
        if empty is not None:
            empty.focus()
        else:
            self.dismiss(tuple(field.value.strip() for field in inputs))


class TextDialog(Dialog):
    """A text to read; Esc, Enter, q and F1 close it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,f1", "dismiss(None)", show=False)]

    def __init__(self, title: str, text: Text) -> None:
        super().__init__()
        self._heading = title
        self._text = text

    def compose(self) -> ComposeResult:
        """Lay out the title, the text and the key hint."""
        with VerticalScroll(classes="box"):
            yield Label(self._heading, classes="title", markup=False)
            yield Static(self._text)
            yield Label("Esc: back", classes="hint")


class SearchDialog(Dialog):
    """A message search; the result is the key of the selected message.

    `find` returns (key, label) for each message found, or a sentence that explains an error.
    """

    def __init__(self, find: Callable[[str], Awaitable[list[tuple[str, str]] | str]]) -> None:
        super().__init__()
        self._find = find

    def compose(self) -> ComposeResult:
        """Lay out the query field, the result count and the results."""
        with Vertical(classes="box wide"):
            yield Label("Search in all conversations", classes="title")
            yield Input(placeholder="words that must all occur in the message", compact=True)
            yield Label("", id="result-count", markup=False)
            yield OptionList(markup=False)
            yield Label("Enter: search, then go to the message   Esc: back", classes="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Start the search in a worker; a running search is cancelled."""
        if event.value.strip():
            self.query_one("#result-count", Label).update("Searching…")
            self.run_worker(self._search(event.value.strip()), exclusive=True)

    async def _search(self, query: str) -> None:
        matches = await self._find(query)
        results, result_count = self.query_one(OptionList), self.query_one("#result-count", Label)
        results.clear_options()
        if isinstance(matches, str):
            result_count.update(matches)
            return
        result_count.update(
            f"{len(matches)} found" if matches else "Nothing was found. A message must contain all the words."
        )
        for key, label in matches:
            results.add_option(Option(Text(label, no_wrap=True, overflow="ellipsis"), id=key))
        if matches:
            results.highlighted = 0
            results.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Close with the key of the selected message."""
        self.dismiss(event.option_id)

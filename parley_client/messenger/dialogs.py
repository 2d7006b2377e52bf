"""The modal dialogs of the messenger: a choice, a form, a text and a search."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from parley_client.messenger.text_input import TextField

# A search starts once nothing has been typed for this time.
TYPING_PAUSE_S = 0.25
Find = Callable[[str], Awaitable[list[tuple[str, str]] | str]]
"""A search: it returns (key, label) for each result, or a sentence that explains an error."""


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
                yield TextField(value, compact=True)
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
    """A search; the result is the key of the selected result. Enter searches, and Enter on a result selects it."""

    def __init__(self, title: str, placeholder: str, find: Find, not_found: str) -> None:
        super().__init__()
        self._heading = title
        self._placeholder = placeholder
        self._find = find
        self._not_found = not_found

    def compose(self) -> ComposeResult:
        """Lay out the query field, the result count and the results."""
        with Vertical(classes="box wide"):
            yield Label(self._heading, classes="title")
            yield TextField(placeholder=self._placeholder, compact=True)
            yield Label("", id="result-count", markup=False)
            yield OptionList(markup=False)
            yield Label("Enter: search, then go to the result   Esc: back", classes="hint")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search."""
        if query := event.value.strip():
            self._start(self._submit(query))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Close with the key of the selected result."""
        self.dismiss(event.option_id)

    def _start(self, search: Coroutine[Any, Any, None]) -> None:
        """Run a search in a worker; a running search is cancelled."""
        self._describe("Searching…")
        self.run_worker(search, exclusive=True)

    async def _submit(self, query: str) -> None:
        """Search, then focus the results."""
        if await self._search(query):
            self.query_one(OptionList).focus()

    async def _search(self, query: str) -> list[tuple[str, str]]:
        """Show the results of a search and return them."""
        found = await self._find(query)
        matches = [] if isinstance(found, str) else found
        results = self.query_one(OptionList)
        results.clear_options()
        results.add_options(Option(Text(label, no_wrap=True, overflow="ellipsis"), id=key) for key, label in matches)
        results.highlighted = 0 if matches else None
        if isinstance(found, str):
            self._describe(found)
        else:
            self._describe(f"{len(matches)} found" if matches else self._not_found)
        return matches

    def _describe(self, result: str) -> None:
        self.query_one("#result-count", Label).update(result)


class LiveSearchDialog(SearchDialog):
    """A search that runs while the query is typed. Enter selects the result that `is_exact`, or the only one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("down", "focus_results", show=False)]

    def __init__(
        self, title: str, placeholder: str, find: Find, not_found: str, is_exact: Callable[[str, str], bool]
    ) -> None:
        super().__init__(title, placeholder, find, not_found)
        self._is_exact = is_exact
        self._pause: Timer | None = None

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search after a pause in typing."""
        self._stop_pause()
        if query := event.value.strip():
            self._pause = self.set_timer(TYPING_PAUSE_S, lambda: self._start(self._show_results(query)))
        else:
            self.query_one(OptionList).clear_options()
            self._describe("")

    def action_focus_results(self) -> None:
        """Go from the query to the results."""
        if self.query_one(OptionList).option_count:
            self.query_one(OptionList).focus()

    async def _show_results(self, query: str) -> None:
        await self._search(query)

    async def _submit(self, query: str) -> None:
        """Search, then close with the exact or only result, or focus the results."""
        self._stop_pause()
        matches = await self._search(query)
        chosen = next((key for key, _ in matches if self._is_exact(query, key)), None)
        if chosen is not None or len(matches) == 1:
            self.dismiss(chosen or matches[0][0])
        elif matches:
            self.query_one(OptionList).focus()

    def _stop_pause(self) -> None:
        if self._pause is not None:
            self._pause.stop()

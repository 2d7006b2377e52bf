"""The lines of the open conversation, of which one can be chosen."""

from __future__ import annotations

from typing import ClassVar

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from parley_client.messenger.rows import Row

# Two cells for a tick, five for the time, and one between them and the words: what others wrote comes last in a line.
TIME, TICK = 5, 2


class MessageList(OptionList):
    """Shows rows; keeps its place when they change, and its end in sight while nobody looks further up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "down", show=False),
        Binding("pageup", "up_a_page", show=False),
        *(
            Binding(key, f"deed('{deed}')", show=False)
            for key, deed in [
                ("enter", "menu"),
                ("r", "reply"),
                ("e", "edit"),
                ("d", "delete"),
                ("plus,x", "react"),
                ("f", "forward"),
                ("i", "readers"),
            ]
        ),
    ]

    class Deed(Message):
        """The person wants to do something with the chosen row."""

        def __init__(self, deed: str, key: str) -> None:
            super().__init__()
            self.deed = deed
            self.key = key

    class Left(Message):
        """The person went below the last row."""

    class AtEnd(Message):
        """The newest row came into sight."""

    class AtTop(Message):
        """The first row is in sight: more may be fetched."""

    def __init__(self) -> None:
        super().__init__(id="messages", markup=False)
        self._shown: list[Row] = []

    @property
    def at_end(self) -> bool:
        """Whether the newest row is in sight."""
        return self.scroll_offset.y >= self.max_scroll_y - 1

    def show(self, rows: list[Row], *, end: bool = False) -> None:
        """Show these rows; `end`: go to the last one."""
        stay = end or (self.at_end and self.highlighted is None)
        if end:
            self.highlighted = None
        old, self._shown = self._shown, rows
        same = 0
        while same < min(len(old), len(rows)) and old[same].key == rows[same].key:
            if old[same] != rows[same]:
                self.replace_option_prompt_at_index(same, render(rows[same]))
            same += 1
        if same < len(old):
            self._rebuild(rows)
        else:
            self.add_options(_option(row) for row in rows[same:])
        if stay:
            self.call_after_refresh(self._follow)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Scrolled."""
        super().watch_scroll_y(old_value, new_value)
        if self.at_end:
            self.post_message(self.AtEnd())

    def choose(self, key: str) -> bool:
        """Choose the row of this key; whether it is here."""
        for place, row in enumerate(self._shown):
            if row.key == key:
                self.highlighted = place
                return True
        return False

    def choose_last(self) -> None:
        """Choose the newest row that can be."""
        self.highlighted = next((n for n in reversed(range(len(self._shown))) if self._shown[n].said), None)

    def action_down(self) -> None:
        """To the next row, or out below the last."""
        if self.highlighted is None or not any(row.said for row in self._shown[self.highlighted + 1 :]):
            self.highlighted = None
            self.post_message(self.Left())
        else:
            self.action_cursor_down()

    def action_cursor_up(self) -> None:
        """To the row before; at the first one more may be fetched."""
        first = next((n for n, row in enumerate(self._shown) if row.said), None)
        if self.highlighted is not None and self.highlighted == first:
            self.scroll_home(animate=False)
            self.post_message(self.AtTop())
        else:
            super().action_cursor_up()

    def action_first(self) -> None:
        """To the first row, with what stands above it."""
        super().action_first()
        self.call_after_refresh(self.scroll_home, animate=False, immediate=True)

    def action_up_a_page(self) -> None:
        """A page up; near the first row more may be fetched."""
        self.action_page_up()  # type: ignore[no-untyped-call]
        if self.highlighted is None or self.highlighted < 5:
            self.post_message(self.AtTop())

    def action_deed(self, deed: str) -> None:
        """Tell what is wanted with the chosen row."""
        if self.highlighted is not None:
            self.post_message(self.Deed(deed, self._shown[self.highlighted].key))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click chooses, and no more."""
        event.stop()

    def _follow(self) -> None:
        """To the newest row, unless another was chosen meanwhile."""
        if self.highlighted is None:
            self.scroll_end(animate=False, immediate=True)

    def _rebuild(self, rows: list[Row]) -> None:
        chosen = self.highlighted_option.id if self.highlighted_option else ""
        below = self.max_scroll_y - self.scroll_offset.y
        self.clear_options()
        self.add_options(_option(row) for row in rows)
        if chosen:
            self.choose(chosen)
        else:
            # What was in sight stays there when older rows come above it.
            self.call_after_refresh(lambda: self.scroll_to(y=self.max_scroll_y - below, animate=False, immediate=True))


def _option(row: Row) -> Option:
    return Option(render(row), id=row.key, disabled=not row.said)


def render(row: Row) -> RenderableType:
    """A row as it is drawn: time, tick, words, in columns that words of any script cannot move."""
    if not row.said:
        return Text(f"{row.time:<{TIME}} {row.text}", style="dim")
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=TIME, style="dim", no_wrap=True)
    grid.add_column(width=TICK, no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    if row.title:
        grid.add_row("", "", Text(row.title, style=f"bold {row.colour}", no_wrap=True, overflow="ellipsis"))
    if row.quote:
        grid.add_row("", "", Text(f"↳ {row.quote}", style="dim", no_wrap=True, overflow="ellipsis"))
    words = Text(row.text, style="dim" if row.faint else "")
    if row.mark:
        words.append(f" ({row.mark})", style="dim")
    grid.add_row(row.time, Text(row.tick, style="bold green" if row.read else "dim"), words)
    if row.after:
        grid.add_row("", "", row.after)
    if row.trouble:
        grid.add_row("", "", Text(row.trouble, style="red"))
    return grid

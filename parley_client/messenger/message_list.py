"""The widget that shows the messages of the open conversation and highlights one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from parley_client.messenger.rows import Row

# Widths in cells. The text comes last in a line, because its width depends on its script.
TIME_WIDTH, TICK_WIDTH = 5, 2


class MessageList(OptionList):
    """A list of rows that keeps its scroll position on changes, and follows the newest row while it is visible."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "down", show=False),
        Binding("pageup", "page_up_or_load", show=False),
        *(
            Binding(key, f"request('{action}')", show=False)
            for key, action in [
                ("enter", "menu"),
                ("r", "reply"),
                ("e", "edit"),
                ("d", "delete"),
                ("plus,x", "react"),
                ("f", "forward"),
                ("c", "copy"),
                ("s", "save"),
                ("i", "readers"),
            ]
        ),
    ]

    class ActionRequested(Message):
        """Posted when a key requests an action on the highlighted row."""

        def __init__(self, action: str, key: str) -> None:
            super().__init__()
            self.action = action
            self.key = key

    class LeftBelow(Message):
        """Posted when the cursor moves below the last row."""

    class Scrolled(Message):
        """Posted when other rows became visible."""

    class TopReached(Message):
        """Posted near the first row, so that older messages can be loaded."""

    def __init__(self) -> None:
        super().__init__(id="messages", markup=False)
        self._rows: list[Row] = []
        # What a resize restores: the end, or else the row at the top.
        self._follows_end = True
        self._top_key = ""
        self._measured_size = Size()

    @property
    def at_end(self) -> bool:
        """True if the newest row is visible, but for its last line at most."""
        newest_visible = not self._rows or self.last_visible_key == self._rows[-1].key
        return newest_visible and self.scroll_offset.y >= self.max_scroll_y - 1

    @property
    def rests_at_end(self) -> bool:
        """True if the newest row is visible, or will be after the next refresh."""
        return self.at_end or (self._follows_end and self.highlighted is None)

    @property
    def highlighted_key(self) -> str:
        """The key of the highlighted row; empty: there is none."""
        return "" if self.highlighted is None else self._rows[self.highlighted].key

    @property
    def visible_keys(self) -> list[str]:
        """The keys of the rows that are visible, at least in part."""
        top = self.scroll_offset.y
        visible = self._lines[top : top + self.scrollable_content_region.height]
        return list(dict.fromkeys(self.get_option_at_index(index).id or "" for index, _ in visible))

    @property
    def last_visible_key(self) -> str:
        """The key of the lowest visible row; empty: there is none."""
        return self._key_at(self.scroll_offset.y + self.scrollable_content_region.height - 1)

    def show_rows(self, rows: list[Row], *, end: bool = False, renamed: Mapping[str, str] | None = None) -> None:
        """Show these rows; with `end`, scroll to the last one. `renamed` has the new keys of rows by their old ones."""
        follow = end or (self._follows_end and self.highlighted is None)
        if end:
            self.highlighted = None
        highlighted_key = (renamed or {}).get(self.highlighted_key, self.highlighted_key)
        old, self._rows = self._rows, rows
        same = 0
        while same < min(len(old), len(rows)) and old[same].key == rows[same].key:
            if old[same] != rows[same]:
                self.replace_option_prompt_at_index(same, render(rows[same]))
            same += 1
        if same < len(old):
            self._rebuild(rows, highlighted_key)
        else:
            self.add_options(_option(row) for row in rows[same:])
        if follow:
            self.call_after_refresh(self._scroll_to_end)

    def scroll_to_newest(self) -> None:
        """Scroll to the newest row, and highlight none."""
        self.highlighted = None
        self._scroll_to_end()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Post Scrolled, and remember what a resize restores."""
        super().watch_scroll_y(old_value, new_value)
        if self.size == self._measured_size:
            self._remember_position()
        self.post_message(self.Scrolled())

    def on_resize(self) -> None:
        """Keep the end visible, or the highlighted row, or the row at the top: their lines are wrapped anew."""
        self.call_after_refresh(self._restore_position)

    def highlight_row(self, key: str) -> bool:
        """Highlight the row with this key; return False if there is none."""
        for index, row in enumerate(self._rows):
            if row.key == key:
                self.highlighted = index
                return True
        return False

    def highlight_last(self) -> None:
        """Highlight the newest selectable row."""
        self.highlighted = next((n for n in reversed(range(len(self._rows))) if self._rows[n].selectable), None)

    def action_down(self) -> None:
        """Move to the next row; below the last, post LeftBelow."""
        if self.highlighted is None or not any(row.selectable for row in self._rows[self.highlighted + 1 :]):
            self.highlighted = None
            self.post_message(self.LeftBelow())
        else:
            self.action_cursor_down()

    def action_cursor_up(self) -> None:
        """Move to the previous row; at the first, post TopReached."""
        first = next((n for n, row in enumerate(self._rows) if row.selectable), None)
        if self.highlighted is not None and self.highlighted == first:
            self.scroll_home(animate=False)
            self.post_message(self.TopReached())
        else:
            super().action_cursor_up()

    def action_first(self) -> None:
        """Move to the first selectable row and scroll to the very top."""
        super().action_first()
        self.call_after_refresh(self.scroll_home, animate=False, immediate=True)

    def action_page_up_or_load(self) -> None:
        """Move up a page; near the first row, post TopReached."""
        self.action_page_up()  # type: ignore[no-untyped-call]
        if self.highlighted is None or self.highlighted < 5:
            self.post_message(self.TopReached())

    def action_request(self, action: str) -> None:
        """Post ActionRequested for the highlighted row."""
        if self.highlighted is not None:
            self.post_message(self.ActionRequested(action, self._rows[self.highlighted].key))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Stop the event: a click only highlights."""
        event.stop()

    def _scroll_to_end(self) -> None:
        """Scroll to the newest row, unless a row has been highlighted in the meantime."""
        if self.highlighted is None:
            self._follows_end = True
            self.scroll_end(animate=False, immediate=True)

    def _scroll_above_end(self, distance: int) -> None:
        """Scroll to `distance` lines above the end, unless a row has been highlighted in the meantime."""
        if self.highlighted is None:
            self.scroll_to(y=self.max_scroll_y - distance, animate=False, immediate=True)

    def _restore_position(self) -> None:
        self._measured_size = self.size
        rows_by_key = {row.key: index for index, row in enumerate(self._rows)}
        if self.highlighted is not None:
            self.scroll_to_highlight()
        elif self._follows_end or self._top_key not in rows_by_key:
            self._scroll_to_end()
        else:
            y = self._index_to_line[rows_by_key[self._top_key]]
            self.scroll_to(y=y, animate=False, immediate=True)

    def _remember_position(self) -> None:
        self._follows_end = self.at_end
        self._top_key = self._key_at(self.scroll_offset.y)

    def _key_at(self, line: int) -> str:
        """Return the key of the row at a line, or of the last row if there is no such line."""
        lines = self._lines
        return self.get_option_at_index(lines[min(line, len(lines) - 1)][0]).id or "" if lines else ""

    def _rebuild(self, rows: list[Row], highlighted_key: str) -> None:
        below = self.max_scroll_y - self.scroll_offset.y
        self.clear_options()
        self.add_options(_option(row) for row in rows)
        if highlighted_key:
            self.highlight_row(highlighted_key)
        else:
            # Visible rows stay visible when older rows are inserted above them.
            self.call_after_refresh(self._scroll_above_end, below)


def _option(row: Row) -> Option:
    return Option(render(row), id=row.key, disabled=not row.selectable)


def render(row: Row) -> RenderableType:
    """Return a row as columns of fixed width for time and tick, and the text, whatever its script."""
    if not row.selectable:
        return Text(f"{row.time:<{TIME_WIDTH}} {row.text}", style="dim")
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=TIME_WIDTH, style="dim", no_wrap=True)
    grid.add_column(width=TICK_WIDTH, no_wrap=True)
    grid.add_column(ratio=1, overflow="fold")
    if row.sender:
        grid.add_row("", "", Text(row.sender, style=f"bold {row.colour}", no_wrap=True, overflow="ellipsis"))
    if row.quote:
        grid.add_row("", "", Text(f"↳ {row.quote}", style="dim", no_wrap=True, overflow="ellipsis"))
    text = Text(row.text, style="dim" if row.dimmed else "")
    for mention in row.mentions:
        text.stylize("bold black on yellow" if mention.is_own else "bold cyan", mention.start, mention.end)
    if row.label:
        text.append(f" ({row.label})", style="dim")
    grid.add_row(row.time, Text(row.tick, style="bold green" if row.read else "dim"), text)
    if row.picture is not None:
        grid.add_row("", "", row.picture)
    if row.reactions:
        grid.add_row("", "", row.reactions)
    if row.error:
        grid.add_row("", "", Text(row.error, style="red"))
    return grid

"""The list of messages of the terminal messenger: what is visible after its rows change."""

import re

import pytest
from textual.app import App, ComposeResult

from parley_client.messenger.message_list import MessageList
from parley_client.messenger.rows import Row

ROWS = [Row(f"message {number}", f"text {number:03}") for number in range(100)]
HEIGHT = 10
# Rows that take one line in a wide terminal and several in a narrow one.
LONG_ROWS = [Row(f"message {number}", f"text {number:03} " + "word " * 12) for number in range(100)]


class ListApp(App[None]):
    """An app that consists of one list of messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = MessageList()

    def compose(self) -> ComposeResult:
        yield self.messages

    def shows(self, row: Row) -> bool:
        """Return True if the row is visible."""
        return any(row.text[:8] in strip.text for strip in self.screen._compositor.render_strips())

    def first_text(self) -> str:
        """Return the beginning of the first text that is visible."""
        found = re.search(r"text \d+", "\n".join(strip.text for strip in self.screen._compositor.render_strips()))
        assert found is not None
        return found[0]


async def test_newest_row_is_visible_after_opening() -> None:
    app = ListApp()
    async with app.run_test(size=(40, HEIGHT)) as pilot:
        app.messages.show_rows(ROWS, end=True)
        await pilot.pause()
        assert app.shows(ROWS[-1])


async def test_visible_rows_stay_visible_when_older_rows_are_inserted() -> None:
    app = ListApp()
    async with app.run_test(size=(40, HEIGHT)) as pilot:
        app.messages.show_rows(ROWS[50:])
        await pilot.pause()
        app.messages.scroll_to(y=20, animate=False, immediate=True)
        await pilot.pause()
        assert app.shows(ROWS[75])
        app.messages.show_rows(ROWS)
        await pilot.pause()
        assert app.shows(ROWS[75])


async def test_row_highlighted_right_after_older_rows_were_inserted_is_visible() -> None:
    app = ListApp()
    async with app.run_test(size=(40, HEIGHT)) as pilot:
        app.messages.show_rows(ROWS[50:], end=True)
        await pilot.pause()
        app.messages.show_rows(ROWS)
        app.messages.highlight_row(ROWS[3].key)
        await pilot.pause()
        assert app.shows(ROWS[3])


@pytest.mark.parametrize("sizes", [[(40, HEIGHT), (120, 24)], [(120, 4), (80, HEIGHT)]], ids=["narrow", "low"])
async def test_newest_message_stays_visible_when_terminal_is_resized(sizes: list[tuple[int, int]]) -> None:
    app = ListApp()
    async with app.run_test(size=(80, HEIGHT)) as pilot:
        app.messages.show_rows(LONG_ROWS, end=True)
        await pilot.pause()
        for size in sizes:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert app.shows(LONG_ROWS[-1]), size
            assert app.messages.at_end, size


async def test_message_at_top_stays_there_when_terminal_is_resized() -> None:
    app = ListApp()
    async with app.run_test(size=(80, HEIGHT)) as pilot:
        app.messages.show_rows(LONG_ROWS, end=True)
        await pilot.pause()
        app.messages.scroll_to(y=84, animate=False, immediate=True)
        await pilot.pause()
        top = app.first_text()
        for size in [(40, HEIGHT), (120, HEIGHT), (80, 24)]:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert app.first_text() == top, size


async def test_selected_message_stays_visible_when_terminal_is_resized() -> None:
    app = ListApp()
    async with app.run_test(size=(120, HEIGHT)) as pilot:
        app.messages.show_rows(LONG_ROWS, end=True)
        await pilot.pause()
        app.messages.highlight_row(LONG_ROWS[50].key)
        await pilot.pause()
        await pilot.resize_terminal(40, 6)
        await pilot.pause()
        assert app.shows(LONG_ROWS[50])


async def test_selection_stays_on_message_when_others_arrive_and_when_it_is_sent() -> None:
    app = ListApp()
    async with app.run_test(size=(40, HEIGHT)) as pilot:
        outgoing = Row("outgoing 1", "mine")
        app.messages.show_rows([*ROWS[:5], outgoing], end=True)
        app.messages.highlight_row(outgoing.key)
        app.messages.show_rows([*ROWS[:6], outgoing])
        assert app.messages.highlighted_key == outgoing.key
        app.messages.show_rows([*ROWS[:6], Row("message 200", "mine"), ROWS[7]], renamed={"outgoing 1": "message 200"})
        await pilot.pause()
        assert app.messages.highlighted_key == "message 200"

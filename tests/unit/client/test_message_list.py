"""The list of messages of the terminal messenger: what is visible after its rows change."""

from textual.app import App, ComposeResult

from parley_client.messenger.message_list import MessageList
from parley_client.messenger.rows import Row

ROWS = [Row(f"message {number}", f"text {number:03}") for number in range(100)]
HEIGHT = 10


class ListApp(App[None]):
    """An app that consists of one list of messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages = MessageList()

    def compose(self) -> ComposeResult:
        yield self.messages

    def shows(self, row: Row) -> bool:
        """Return True if the row is visible."""
        return any(row.text in strip.text for strip in self.screen._compositor.render_strips())


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

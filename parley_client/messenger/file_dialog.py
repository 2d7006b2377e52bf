"""The dialog that asks for a local file or folder and completes its path."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Label

from parley_client.cli.text import printable
from parley_client.messenger.text_input import TextField

# A folder with more entries is not searched to its end.
MAX_SEARCHED_ENTRIES = 10_000


class FileDialog(ModalScreen[tuple[Path, str] | None]):
    """A path, which → completes, and optionally a caption; the result is both, or None.

    The path must be that of a file, or with `can_be_folder` in a folder that exists.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", show=False)]

    def __init__(
        self, title: str, label: str, value: str = "", *, can_be_folder: bool, has_caption: bool = False
    ) -> None:
        super().__init__()
        self._heading = title
        self._label = label
        self._value = value
        self._can_be_folder = can_be_folder
        self._has_caption = has_caption

    def compose(self) -> ComposeResult:
        """Lay out the title, the fields, the problem of the path and the key hint."""
        with Vertical(classes="box wide"):
            yield Label(Text(self._heading, no_wrap=True, overflow="ellipsis"), classes="title")
            yield Label(self._label)
            yield TextField(self._value, compact=True, suggester=PathSuggester(), id="path")
            if self._has_caption:
                yield Label("Caption (may be empty)")
                yield TextField(compact=True, id="caption")
            yield Label("", id="problem", markup=False)
            yield Label("→: complete   Enter: go on   Esc: back", classes="hint")

    async def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go from the path to the caption, or close with the values, unless the path is wrong."""
        path, problem = await asyncio.to_thread(self._examine, self.query_one("#path", Input).value.strip())
        self.query_one("#problem", Label).update(problem)
        if problem:
            self.query_one("#path").focus()
        elif self._has_caption and event.input.id == "path":
            self.query_one("#caption").focus()
        else:
            caption = self.query_one("#caption", Input).value.strip() if self._has_caption else ""
            self.dismiss((path, caption))

    def _examine(self, typed: str) -> tuple[Path, str]:
        """Return the path that was typed, and the problem with it; empty: there is none."""
        path = Path(os.path.expanduser(typed))  # noqa: PTH111  # Path.expanduser raises for an unknown user
        if self._can_be_folder:
            return path, "" if path.is_dir() or path.absolute().parent.is_dir() else "There is no such folder."
        if typed and path.is_dir():
            return path, "That is a folder."
        return path, "" if path.is_file() else "There is no such file."


class PathSuggester(Suggester):
    """Suggests the first path that begins with what was typed."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """Return the path to suggest, or None."""
        return await asyncio.to_thread(complete_path, value) if value else None


def complete_path(typed: str) -> str | None:
    """Return the first path in alphabetical order that begins with `typed`; a folder ends with a slash."""
    folder, _, start = typed.rpartition("/")
    searched = os.path.expanduser(f"{folder}/" if "/" in typed else ".")  # noqa: PTH111
    found: list[str] = []
    try:
        with os.scandir(searched) as entries:
            for _, entry in zip(range(MAX_SEARCHED_ENTRIES), entries, strict=False):
                is_hidden = entry.name.startswith(".") and not start.startswith(".")
                if entry.name.startswith(start) and not is_hidden and printable(entry.name) == entry.name:
                    found.append(f"{entry.name}/" if entry.is_dir() else entry.name)
    except OSError:
        return None
    return f"{typed.removesuffix(start)}{min(found)}" if found else None


def default_download_folder() -> str:
    """Return the folder ~/Downloads if there is one, and otherwise the present folder."""
    downloads = Path.home() / "Downloads"
    return str(downloads if downloads.is_dir() else Path.cwd())

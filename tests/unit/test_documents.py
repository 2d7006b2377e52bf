"""The documents name only files, classes, functions and links that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from parley.common.v1.error_pb2 import ErrorReason

ROOT: Final = Path(__file__).parents[2]
RECORDS: Final = ROOT / "docs" / "adr"
# The changelog names files of earlier releases.
PAGES: Final = [ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
LINKED: Final = [*PAGES, ROOT / "CHANGELOG.md"]
# Written by builds and runs, so not in every checkout.
GENERATED: Final = ("build/", "bench/results/")
# Words whose meaning here no reader can guess.
OWN_WORDS: Final = ("acquainted",)
CODE: Final = re.compile(r"`([^`\n]+)`")
# `folder/file.py`, `folder/` or `folder/file.py::Class.method`.
NAMED_PATH: Final = re.compile(r"(\.?\w[\w.-]*(?:/[\w.-]+)*/?)(?:::([\w.]+))?")
LIST_OF_CODE: Final = re.compile(r"`[^`]+`(?:, `[^`]+`)*")
SYMBOL: Final = re.compile(r"[A-Za-z_]\w*(?:\.(?!py$)\w+)*")
LINK: Final = re.compile(r"\]\(([^)\s]+)\)")


def named_paths(line: str) -> Iterator[tuple[str, str]]:
    """Yield (path, symbol or "") for each path in backticks whose first folder the repository has."""
    for code in CODE.findall(line):
        match = NAMED_PATH.fullmatch(code)
        if match is None or code.startswith(GENERATED):
            continue
        path, symbol = match.group(1), match.group(2) or ""
        if path.endswith(".py") or ("/" in path and (ROOT / path.split("/")[0]).is_dir()):
            yield path, symbol


def missing_names(text: str) -> list[str]:
    """Return the paths and symbols of a document that do not exist.

    A path is relative to the repository, to `chat_service/` or to a folder that the same line names. In a row of a
    table with a cell of files and a cell of symbols, one of the files defines each symbol.
    """
    missing = []
    for line in text.splitlines():
        named = list(named_paths(line))
        folders = [ROOT, ROOT / "chat_service", *(ROOT / path for path, _ in named if path.endswith("/"))]
        found = {path: _find(path, folders) for path, _ in named}
        missing += [path for path, file in found.items() if file is None]
        missing += [f"{path}::{name}" for path, name in named if name and name not in symbols(found[path])]
        files = [file for file in found.values() if file is not None and file.suffix == ".py"]
        defined = {name for file in files for name in symbols(file)}
        missing += [name for name in _symbol_cell(line) if name not in defined]
    return missing


@cache
def symbols(path: Path | None) -> frozenset[str]:
    """Return the top-level names of a module, and the members of its classes as `Class.member`."""
    if path is None:
        return frozenset()
    return frozenset(_symbols(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_and_symbols_exist(page: Path) -> None:
    assert missing_names(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    broken = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        link = urlsplit(target)
        if link.scheme:
            continue
        file = page.parent / link.path if link.path else page
        if not file.exists() or (link.fragment and link.fragment not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_readme_shows_the_example_that_the_tests_run() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert programs == [(ROOT / "docs" / "examples" / "pong.py").read_text(encoding="utf-8")]


def test_examples_are_type_checked() -> None:
    typed = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("TYPED :="))
    assert "docs/examples" in typed.split()


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent != RECORDS], ids=lambda page: page.name)
def test_page_defines_the_words_of_our_own_that_it_uses_or_links_to_them(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for word in OWN_WORDS:
        used = re.search(rf"\b{word}\b", text)
        # Emphasized by its definition, or the text of a link.
        assert not used or re.search(rf"\*{word}\*|\[{word}\]\(", text), word


def test_index_lists_every_record_under_its_title() -> None:
    index = (RECORDS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| (\d+) \| \[(.*)\]\((.*)\)", index, re.MULTILINE)
    titles = {path.name: path.read_text(encoding="utf-8").split("\n")[0] for path in RECORDS.glob("[0-9]*.md")}
    assert {name: f"# {number}. {title}" for number, title, name in listed} == titles
    assert [int(number) for number, _, _ in listed] == list(range(1, len(titles) + 1))


def test_errors_md_lists_every_reason() -> None:
    listed = set(CODE.findall((ROOT / "docs" / "errors.md").read_text(encoding="utf-8")))
    reasons = {name.removeprefix("ERROR_REASON_") for name, _ in ErrorReason.items()} - {"UNSPECIFIED"}
    assert reasons - listed == set()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("`tests/unit/test_documents.py`", [("tests/unit/test_documents.py", "")]),
        ("`tests/unit/test_documents.py::anchors`", [("tests/unit/test_documents.py", "anchors")]),
        ("`gone.py`", [("gone.py", "")]),
        ("`docs/`, `build/include/`, `text/plain`, `make run`, `Class`", [("docs/", "")]),
    ],
)
def test_paths_in_backticks_are_found(text: str, named: list[tuple[str, str]]) -> None:
    assert list(named_paths(text)) == named


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("`stream/gone.py`", ["stream/gone.py"]),
        ("`stream/edge.py::Edge.drain`, `stream/edge.py::Gone`", ["stream/edge.py::Gone"]),
        ("| `chat_service/stream/` | frames (`edge.py`) |", []),
        ("| step 1 | `stream/edge.py`, `home/home.py` | `Edge.drain`, `Home.gone` |", ["Home.gone"]),
        ("| step 1, `hello` | `stream/edge.py` |", []),
    ],
)
def test_missing_names_are_found(text: str, missing: list[str]) -> None:
    assert missing_names(text) == missing


def test_symbols_include_members_of_classes() -> None:
    assert {"ROOT", "anchors"} <= symbols(Path(__file__))
    assert {"SendLane", "SendLane.enqueue"} <= symbols(ROOT / "chat_service" / "stream" / "send_lane.py")


def _find(path: str, folders: list[Path]) -> Path | None:
    return next((folder / path for folder in folders if (folder / path).exists()), None)


def _symbol_cell(line: str) -> list[str]:
    cells = [cell.strip() for cell in line.split("|")]
    lists = [CODE.findall(cell) for cell in cells if LIST_OF_CODE.fullmatch(cell)]
    if not any(all(code.endswith(".py") for code in codes) for codes in lists):
        return []
    return [code for codes in lists for code in codes if SYMBOL.fullmatch(code)]


def _symbols(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from _symbols(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign):
            yield from (prefix + target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id

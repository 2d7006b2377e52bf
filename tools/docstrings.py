"""The check that no docstring opens with a question word."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

QUESTION_WORDS: Final = frozenset(
    {"what", "who", "whose", "whom", "whoever", "whatever", "whether", "which", "when", "where", "why", "how"}
)


def find_questions(path: Path) -> Iterator[str]:
    """Yield `path:line: first line` for every docstring that opens with a question word, also of constants."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))) if _opens_with_question_word(text):
                yield f"{path}:{node.lineno}: {text.strip().splitlines()[0]}"


def main() -> None:
    """Check the Python files of the repository. Exits with 1 and the list of offending docstrings if there are any."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.py"], capture_output=True, check=True)
    found = [
        line for name in listed.stdout.decode().split() if Path(name).exists() for line in find_questions(Path(name))
    ]
    if found:
        print("\n".join(found))
        sys.exit("These docstrings open with a question word. Say what the code does: “Return the …”, “Raise … if …”.")


def _opens_with_question_word(text: str) -> bool:
    first = (text.split(maxsplit=1) or [""])[0].strip("`*_,:;.").split("'")[0].lower()
    return first in QUESTION_WORDS


if __name__ == "__main__":
    main()

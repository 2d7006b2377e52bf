"""The lint rule on docstrings finds those that open with a question word, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import docstrings


@pytest.mark.parametrize("opening", ["What a function", "Whether it", "Who calls", "How servers", "Which of them"])
def test_docstring_that_opens_with_a_question_word_is_found(opening: str, tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(f'"""The module."""\n\n\ndef function():\n    """{opening} does."""\n')
    assert list(docstrings.find_questions(source)) == [f"{source}:5: {opening} does."]


def test_statements_in_docstrings_pass(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        '"""Whole numbers."""\n\n\nclass Number:\n    """Whitelisted."""\n\n    def add(self):\n        """Add it."""\n'
    )
    assert list(docstrings.find_questions(source)) == []


def test_docstring_of_a_constant_is_checked(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text('"""The module."""\n\nGRACE_S = 30\n"""What a stream may outlive its token."""\n')
    assert list(docstrings.find_questions(source)) == [f"{source}:4: What a stream may outlive its token."]

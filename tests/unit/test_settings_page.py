"""docs/settings.md lists every setting of every service, as the code has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from servicekit.config import Settings
from tools import settings_page

DOCS: Final = Path(__file__).parents[2] / "docs"
VARIABLE: Final = re.compile(r"`PARLEY_([A-Z0-9_]+)(?:=[^`]*)?`")
# Variables of the command `parley` and of its examples, which no server reads.
OF_THE_COMMAND: Final = {"ADMIN_ADDRESS", "AS", "CA", "DOOR", "NOTIFY", "PASSWORD"}


class Uncommented(Settings):
    """Settings of which one says nothing."""

    # The first one.
    said: str = ""
    unsaid: str = ""


def test_page_is_that_of_the_code() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.render(), "run python -m tools.settings_page"


def test_page_has_every_field_of_every_service() -> None:
    listed = set(VARIABLE.findall(settings_page.render()))
    fields = {name.upper() for service in settings_page.SERVICES.values() for name in service.model_fields}
    assert fields - listed == set()


def test_setting_without_comment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_page, "SECTIONS", {"Uncommented": Uncommented})
    with pytest.raises(ValueError, match=r"Uncommented\.unsaid has no comment"):
        settings_page.render()


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_variables_in_documents_are_settings(page: Path) -> None:
    known = set(VARIABLE.findall(settings_page.render())) | OF_THE_COMMAND
    assert set(VARIABLE.findall(page.read_text(encoding="utf-8"))) - known == set()

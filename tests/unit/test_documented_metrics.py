"""Every metric that the documents name is exported."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY

import chat_service.__main__  # noqa: F401  all that a chat server counts
import media_service.__main__  # noqa: F401  a media server
import notify_service.__main__  # noqa: F401  a notify server
import presence_service.__main__  # noqa: F401  and a presence server

DOCS: Final = Path(__file__).parents[2] / "docs"


def test_documented_metrics_are_exported() -> None:
    named = {name for page in DOCS.glob("*.md") for name in re.findall(r"\bparley_[a-z_]+\b", page.read_text())}
    counted = {name for metric in REGISTRY.collect() for name in (metric.name, f"{metric.name}_total")}
    assert "parley_ring_members" in named
    assert named - counted - {"parley_client"} == set()

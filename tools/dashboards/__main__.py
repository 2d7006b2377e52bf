"""Writes the dashboards of Grafana to `k8s/monitoring/dashboards/`, one JSON file each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tools.dashboards.chat import CHAT
from tools.dashboards.envoy import ENVOY
from tools.dashboards.grafana import render
from tools.dashboards.overview import OVERVIEW
from tools.dashboards.services import MEDIA, PRESENCE, PUSH
from tools.dashboards.stores import STORES

FOLDER: Final = Path(__file__).parents[2] / "k8s" / "monitoring" / "dashboards"
DASHBOARDS: Final = (OVERVIEW, CHAT, ENVOY, STORES, MEDIA, PRESENCE, PUSH)


def rendered_files() -> dict[str, str]:
    """Return the JSON of each dashboard by the name of its file."""
    return {f"{dashboard.uid}.json": render(dashboard) for dashboard in DASHBOARDS}


def write_dashboards(folder: Path = FOLDER) -> None:
    """Write all dashboards to `folder`, and remove the files of those that are no more."""
    folder.mkdir(parents=True, exist_ok=True)
    files = rendered_files()
    for old in folder.glob("*.json"):
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        (folder / name).write_text(content)


if __name__ == "__main__":
    write_dashboards()

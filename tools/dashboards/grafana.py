"""Panels, rows and dashboards, and their JSON in Grafana's classic dashboard model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

COLUMNS: Final = 24
PANEL_WIDTH: Final = 8
PANEL_HEIGHT: Final = 7
# The version of the classic model that Grafana 10 writes; later ones read it.
SCHEMA_VERSION: Final = 38
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph: `queries` are PromQL expressions by legend, in which {{label}} stands for the value of a label.

    `unit` is one of Grafana's: s, bytes, short, ops (a second), percentunit (a share of 1).
    """

    title: str
    unit: str
    queries: Mapping[str, str]
    description: str = ""
    width: int = PANEL_WIDTH


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard; `uid` is its address in Grafana, and the name of its file."""

    uid: str
    title: str
    rows: Sequence[Row]


def render(dashboard: Dashboard) -> str:
    """Return the JSON of a dashboard, which Grafana imports or provisions."""
    content = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["parley"],
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "refresh": "30s",
        "annotations": {"list": []},
        "links": [{"type": "dashboards", "title": "Parley", "tags": ["parley"], "asDropdown": True, "keepTime": True}],
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": list(_lay_out(dashboard.rows)),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _lay_out(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield the panels from left to right and from top to bottom; each row begins on a line of its own."""
    number, y = 0, 0
    for row in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": _position(0, y, COLUMNS, 1),
        }
        x, y = 0, y + 1
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + PANEL_HEIGHT
            number += 1
            yield {**_render_panel(panel), "id": number, "gridPos": _position(x, y, panel.width, PANEL_HEIGHT)}
            x += panel.width
        y += PANEL_HEIGHT


def _position(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _render_panel(panel: Panel) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": DATASOURCE, "expr": expression, "legendFormat": legend}
        for index, (legend, expression) in enumerate(panel.queries.items())
    ]
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }

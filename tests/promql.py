"""The metrics and labels that a PromQL expression names, found by its syntax."""

from __future__ import annotations

import re
from typing import Final

STRINGS: Final = re.compile(r'"(?:\\.|[^"\\])*"' + r"|'(?:\\.|[^'\\])*'")
SELECTORS: Final = re.compile(r"\{[^}]*\}|\[[^\]]*\]")
# The labels of a grouping or a matching: `by (job)`, `on ()`, `group_left (pod)`.
GROUPINGS: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
NAMES: Final = re.compile(r"\b[A-Za-z_:][\w:]*\b(?!\s*\()")
KEYWORDS: Final = {"and", "or", "unless", "offset", "bool", "by", "without", "inf", "nan", "start", "end"}


def metric_names(expression: str) -> set[str]:
    """Return the names of the metrics in `expression`: neither functions, labels, keywords nor durations."""
    for part in (STRINGS, SELECTORS, GROUPINGS):
        expression = part.sub(" ", expression)
    return {name for name in NAMES.findall(expression) if name.lower() not in KEYWORDS}


def label_names(expression: str) -> set[str]:
    """Return the names of the labels in selectors, groupings and matchings of `expression`."""
    expression = STRINGS.sub('""', expression)
    selectors = " ".join(re.findall(r"\{([^}]*)\}", expression))
    groupings = " ".join(re.findall(r"\(([^)]*)\)", " ".join(GROUPINGS.findall(expression))))
    return set(re.findall(r"(\w+)\s*(?:=|!)", selectors)) | set(re.findall(r"\w+", groupings))

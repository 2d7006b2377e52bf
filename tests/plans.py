"""The execution of aggregations by MongoDB: the stages of the plan, and what they examined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from servicekit.mongo import Database


@dataclass(frozen=True, slots=True)
class Execution:
    """The stages that ran, and the index keys and documents that they examined."""

    stages: frozenset[str]
    keys: int
    documents: int


async def explain_pipeline(database: Database, collection: str, pipeline: Any, hint: Any) -> Execution:
    """Run a pipeline of a store with its hint (None: without one) and return its execution."""
    command = {"aggregate": collection, "pipeline": pipeline, "cursor": {}, **({"hint": hint} if hint else {})}
    explained = await database.command("explain", command, verbosity="executionStats")
    stages = [each for each in _dictionaries(explained) if "stage" in each]
    executed = [each for each in stages if "executionTimeMillisEstimate" in each]
    assert executed, explained
    return Execution(
        frozenset(each["stage"] for each in stages),
        sum(each.get("keysExamined", 0) for each in executed),
        sum(each.get("docsExamined", 0) for each in executed),
    )


def _dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _dictionaries(child)

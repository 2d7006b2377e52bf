"""Pure functions that compare sent messages with the entries of every device and name the first difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest


@dataclass(frozen=True, slots=True)
class Line:
    """An entry as every device should have it; `text` is None unless it is a message."""

    seq: int
    sender: str
    text: str | None

    def __str__(self) -> str:
        return f"seq {self.seq} by {self.sender[:8]}: {self.text!a}"


@dataclass(frozen=True, slots=True)
class Answered:
    """An acknowledged message with its seq; `number` is its index among the sends of its device."""

    device: str
    number: int
    conversation: str
    line: Line


Log = Sequence[Line]


def log_of(conversation: str, preface: Log, answered: Iterable[Answered]) -> list[Line]:
    """Return the log that the answers imply: the `preface`, and every message at its seq."""
    said = [each.line for each in answered if each.conversation == conversation]
    return [*preface, *sorted(said, key=lambda line: line.seq)]


def gaps(conversation: str, log: Log) -> list[str]:
    """Return complaints about seqs that are missing or were assigned to two messages."""
    for place, line in enumerate(log, start=1):
        if line.seq != place:
            return [f"{conversation}: place {place} of what was answered is {line}"]
    return []


def disorder(answered: Iterable[Answered]) -> list[str]:
    """Return complaints about messages of a device that are out of its send order within a conversation."""
    lanes: dict[tuple[str, str], list[Answered]] = {}
    for each in sorted(answered, key=lambda each: each.number):
        lanes.setdefault((each.device, each.conversation), []).append(each)
    return [
        f"{device} sent to {conversation} first {one.line} and then {other.line}"
        for (device, conversation), lane in lanes.items()
        for one, other in pairwise(lane)
        if one.line.seq >= other.line.seq
    ]


def differences(device: str, given: Mapping[str, Log], logs: Mapping[str, Log]) -> list[str]:
    """Return the first difference of each conversation between a device's entries and the logs."""
    complaints = [f"{device} was given {name}, which is not its own" for name in given.keys() - logs.keys()]
    for name, log in logs.items():
        for place, (has, should) in enumerate(zip_longest(given.get(name, ()), log), start=1):
            if has != should:
                complaints.append(
                    f"{device} in {name}, place {place} of {len(log)}:\n"
                    f"    was given {has or 'nothing more'}\n    the log has {should or 'nothing more'}"
                )
                break
    return complaints

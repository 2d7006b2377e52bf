"""The judges: each reads the records and gives the troubles it found, none if the promise was kept. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from parley_client.demo.record import AcknowledgedMessage, DeviceRecord, RecordedEntry

Log = Sequence[RecordedEntry]


def check_durable(acknowledged: Iterable[AcknowledgedMessage], logs: Mapping[str, Log]) -> list[str]:
    """P1: what was acknowledged is in the log, where the answer said."""
    troubles = []
    for each in acknowledged:
        found = {entry.seq: entry.content for entry in logs.get(each.conversation_id, ())}.get(each.seq)
        if found != each.text:
            there = f"“{found}” is there" if found else "nothing is there"
            troubles.append(f"“{each.text}” was acknowledged as seq {each.seq}, but {there}")
    return troubles


def check_gapless(notebook: DeviceRecord, conversation: str) -> list[str]:
    """P2: a device was given 1, 2, 3 … in this order, each once."""
    for place, seq in enumerate(notebook.seqs(conversation), start=1):
        if seq != place:
            return [f"{notebook.device_name} was given seq {seq} where {place} was next"]
    return []


def check_matches_log(notebook: DeviceRecord, conversation: str, log: Log) -> list[str]:
    """P2: what a device was given is what the log holds."""
    truth = {entry.seq: entry for entry in log}
    return [
        f"{notebook.device_name} has “{entry.content}” at seq {entry.seq}, the log has another entry"
        for entry in notebook.entries.get(conversation, ())
        if entry.seq not in truth or not entry.is_same_entry(truth[entry.seq])
    ]


def check_sender_order(acknowledged: Iterable[AcknowledgedMessage]) -> list[str]:
    """P2: the messages of one device stand in the log in the order it sent them."""
    lanes: dict[tuple[str, str], list[AcknowledgedMessage]] = defaultdict(list)
    for each in acknowledged:
        lanes[each.sender, each.conversation_id].append(each)
    troubles = []
    for (sender, _), sent in lanes.items():
        ordered = sorted(sent, key=lambda each: each.send_index)
        for one, other in pairwise(ordered):
            if one.seq >= other.seq:
                troubles.append(f"{sender} sent “{one.text}” before “{other.text}”, the log has it behind")
    return troubles


def check_exactly_once(acknowledged: Iterable[AcknowledgedMessage], logs: Mapping[str, Log]) -> list[str]:
    """P3: every message is in its log exactly once (all texts of the demo differ)."""
    counts = {name: Counter(entry.content for entry in log) for name, log in logs.items()}
    return [
        f"“{each.text}” is in the log {times} times"
        for each in acknowledged
        if (times := counts.get(each.conversation_id, Counter())[each.text]) > 1
    ]


def check_delivered(
    acknowledged: Iterable[AcknowledgedMessage], notebook: DeviceRecord, conversation: str, until: int | None = None
) -> list[str]:
    """P4: a device was given every acknowledged message of a conversation (`until`: up to this seq)."""
    given = {(entry.seq, entry.content) for entry in notebook.entries.get(conversation, ())}
    return [
        f"{notebook.device_name} never got “{each.text}” (seq {each.seq})"
        for each in acknowledged
        if each.conversation_id == conversation
        and (until is None or each.seq <= until)
        and (each.seq, each.text) not in given
    ]


def check_resumed(before: DeviceRecord, after: DeviceRecord, conversation: str, head: int) -> list[str]:
    """P5: a device that came back was given what it missed (up to `head`), and only that."""
    had, came = before.seqs(conversation), after.seqs(conversation)
    repeated = sorted(set(had) & set(came))
    missing = sorted(set(range(max(had, default=0) + 1, head + 1)) - set(came))
    troubles = []
    if repeated:
        troubles.append(f"{after.device_name} was given seq {repeated[0]} again after it came back")
    if missing:
        troubles.append(f"{after.device_name} never got seq {missing[0]}, which it missed while it was away")
    return troubles

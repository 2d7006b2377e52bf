"""Pure checks of the promises: each returns the failures found in the records, none if the promise was kept."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from parley_client.demo.record import AcknowledgedMessage, DeviceRecord, RecordedEntry

Log = Sequence[RecordedEntry]


def check_durable(acknowledged: Iterable[AcknowledgedMessage], logs: Mapping[str, Log]) -> list[str]:
    """P1: every acknowledged message is in the log at its acknowledged seq."""
    failures = []
    for message in acknowledged:
        content = {entry.seq: entry.content for entry in logs.get(message.conversation_id, ())}.get(message.seq)
        if content != message.text:
            actual = f"the log has “{content}” there" if content else "the log has nothing there"
            failures.append(f"“{message.text}” was acknowledged as seq {message.seq}, but {actual}")
    return failures


def check_gapless(record: DeviceRecord, conversation: str) -> list[str]:
    """P2: a device received the seqs 1, 2, 3 … in this order, each once."""
    for expected, seq in enumerate(record.seqs(conversation), start=1):
        if seq != expected:
            return [f"{record.device_name} received seq {seq} where {expected} was next"]
    return []


def check_matches_log(record: DeviceRecord, conversation: str, log: Log) -> list[str]:
    """P2: the entries that a device received are those of the log."""
    log_entries = {entry.seq: entry for entry in log}
    return [
        f"{record.device_name} has “{entry.content}” at seq {entry.seq}, but the log has another entry"
        for entry in record.entries.get(conversation, ())
        if entry.seq not in log_entries or not entry.is_same_entry(log_entries[entry.seq])
    ]


def check_sender_order(acknowledged: Iterable[AcknowledgedMessage]) -> list[str]:
    """P2: the messages of one device are in the log in the order in which it sent them."""
    sent_by_device: dict[tuple[str, str], list[AcknowledgedMessage]] = defaultdict(list)
    for message in acknowledged:
        sent_by_device[message.sender, message.conversation_id].append(message)
    failures = []
    for (sender, _), sent in sent_by_device.items():
        ordered = sorted(sent, key=lambda message: message.send_index)
        for first, second in pairwise(ordered):
            if first.seq >= second.seq:
                failures.append(f"{sender} sent “{first.text}” before “{second.text}”, but the log has it after")
    return failures


def check_exactly_once(acknowledged: Iterable[AcknowledgedMessage], logs: Mapping[str, Log]) -> list[str]:
    """P3: no message is in its log more than once (all texts of the demo differ)."""
    counts = {name: Counter(entry.content for entry in log) for name, log in logs.items()}
    return [
        f"“{message.text}” is in the log {count} times"
        for message in acknowledged
        if (count := counts.get(message.conversation_id, Counter())[message.text]) > 1
    ]


def check_delivered(
    acknowledged: Iterable[AcknowledgedMessage], record: DeviceRecord, conversation: str, until: int | None = None
) -> list[str]:
    """P4: a device received every acknowledged message of a conversation (`until`: up to this seq)."""
    received = {(entry.seq, entry.content) for entry in record.entries.get(conversation, ())}
    return [
        f"{record.device_name} never received “{message.text}” (seq {message.seq})"
        for message in acknowledged
        if message.conversation_id == conversation
        and (until is None or message.seq <= until)
        and (message.seq, message.text) not in received
    ]


def check_resumed(before: DeviceRecord, after: DeviceRecord, conversation: str, head: int) -> list[str]:
    """P5: a device that reconnected received the entries it missed (up to `head`), and no others."""
    seqs_before, seqs_after = before.seqs(conversation), after.seqs(conversation)
    repeated = sorted(set(seqs_before) & set(seqs_after))
    missing = sorted(set(range(max(seqs_before, default=0) + 1, head + 1)) - set(seqs_after))
    failures = []
    if repeated:
        failures.append(f"{after.device_name} received seq {repeated[0]} again after it reconnected")
    if missing:
        failures.append(
            f"{after.device_name} never received seq {missing[0]}, which it missed while it was disconnected"
        )
    return failures

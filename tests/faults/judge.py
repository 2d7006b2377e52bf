"""Pure functions that check a journal against the promises and name the first violation of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.faults.journal import Given, Journal, Line, Send, Struck

# After a revocation is answered, what was on its way may still arrive for so long.
CUT_OFF_S = 1.0
# Devices are back and have what they lacked within 10 s of a fault, and a margin for a machine that does all at once.
BACK_S = 10.0 * 1.3

Log = Sequence[Line]
Logs = Mapping[str, Log]


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken promise, with an example that shows it."""

    promise: str
    example: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.example}"


def broken_promises(journal: Journal, logs: Logs) -> list[Broken]:
    """Return the broken promises, empty if all were kept; `logs` are the complete logs at the end."""
    checks = {
        "P1 durable": _lost,
        "P2 ordered": _disordered,
        "P3 exactly once": _doubled,
        "P4 delivered": _not_delivered,
        "P5 resume": _not_resumed,
        "P6 moving": _late,
        "P8 isolation": _leaked,
    }
    return [Broken(promise, example) for promise, check in checks.items() for example in check(journal, logs)]


def intervals(log: Log) -> dict[str, list[tuple[int, int]]]:
    """Return the seq intervals that each user may see; the last interval of a current member ends with the log."""
    seen: dict[str, list[tuple[int, int]]] = defaultdict(list)
    since: dict[str, int] = {}
    for line in log:
        for user, comes in line.moves:
            if comes:
                since.setdefault(user, line.seq)
            elif user in since:
                seen[user].append((since.pop(user), line.seq))
    for user, first in since.items():
        seen[user].append((first, log[-1].seq))
    return seen


def visible(log: Log, user: str) -> list[int]:
    """Return the seqs that a user may see."""
    return [seq for first, last in intervals(log).get(user, []) for seq in range(first, last + 1)]


def _lost(journal: Journal, logs: Logs) -> Iterator[str]:
    """Yield acknowledged messages that are missing from the log or stand at another seq."""
    places = _by_seq(logs)
    for send in journal.sends:
        for seq in send.seqs:
            line = places[send.conversation].get(seq)
            if line is None or (line.actor, line.text) != (journal.users[send.device], send.text):
                yield f"{send}, but the log has there {line or 'nothing'}"


def _disordered(journal: Journal, logs: Logs) -> Iterator[str]:
    """Yield gaps in logs, differing deliveries, and messages of a device out of its send order."""
    for conversation, log in logs.items():
        for place, line in enumerate(log, start=1):
            if line.seq != place:
                yield f"{conversation[:8]} has at place {place} {line}"
                break
    places = _by_seq(logs)
    for given in journal.given:
        stands = places.get(given.conversation, {}).get(given.line.seq)
        if stands != given.line:
            whose = f"{given.device} was given {given.line} of {given.conversation[:8]}"
            yield f"{whose}, but the log has {stands or 'nothing'}"
    yield from _out_of_order(journal, logs)
    yield from _not_in_sequence(journal, logs)


def _out_of_order(journal: Journal, logs: Logs) -> Iterator[str]:
    at = {line.text: line.seq for log in logs.values() for line in log if line.text is not None}
    came = _joined(journal)
    lanes: dict[tuple[str, str], list[Send]] = defaultdict(list)
    for send in journal.sends:
        if send.text in at:
            lanes[send.device, send.conversation].append(send)
    for (device, conversation), lane in lanes.items():
        since = came[conversation, journal.users[device]]
        before: list[Send] = []
        for send in sorted(lane, key=lambda send: send.number):
            while before and at[before[-1].text] > at[send.text]:
                late = before.pop()
                # It may have been refused for good, nobody heard of that, and it was judged anew when it was repeated:
                # if its author came back after it was said, and before what was said later.
                if not any(moment >= late.at and seq < at[send.text] for seq, moment in since):
                    yield f"{late} stands at {at[late.text]}, after what was said later: {send}, at {at[send.text]}"
            before.append(send)


def _joined(journal: Journal) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Return, for each time a user joined a conversation, the entry and the latest possible time."""
    first: dict[tuple[str, str, int], float] = {}
    for given in journal.given:
        for user, comes in given.line.moves:
            if comes:
                first.setdefault((given.conversation, user, given.line.seq), given.at)
    came: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for (conversation, user, seq), moment in first.items():
        came[conversation, user].append((seq, moment))
    return came


def _not_in_sequence(journal: Journal, logs: Logs) -> Iterator[str]:
    """Yield repeats and skipped entries on devices that receive entries in order."""
    for (device, conversation), given in _by_device(journal.given).items():
        if device not in journal.in_order or conversation not in logs:
            continue
        seen = visible(logs[conversation], journal.users[device])
        following = dict(pairwise(seen))
        for one, other in pairwise(given):
            if following.get(one.line.seq) != other.line.seq:
                yield f"{device} was given, of {conversation[:8]}, after {one.line}: {other.line}"
                break


def _doubled(journal: Journal, logs: Logs) -> Iterator[str]:
    """Yield messages that stand in the log twice or were answered with several seqs."""
    for conversation, log in logs.items():
        first: dict[str, Line] = {}
        for line in log:
            if line.text is not None and (before := first.setdefault(line.text, line)) is not line:
                yield f"{conversation[:8]} has {before} and {line}"
    for send in journal.sends:
        if len(send.seqs) > 1:
            yield f"{send}: one message, two places"


def _not_delivered(journal: Journal, logs: Logs) -> Iterator[str]:
    """Yield devices that lack an entry their user may see at the end."""
    has: dict[tuple[str, str], set[int]] = defaultdict(set)
    for given in journal.given:
        has[given.device, given.conversation].add(given.line.seq)
    gone = {each.device for each in journal.revoked}
    for conversation, log in logs.items():
        seen = intervals(log)
        for device, user in journal.users.items():
            for first, last in seen.get(user, []) if device not in gone else ():
                lacking = [seq for seq in range(first, last + 1) if seq not in has[device, conversation]]
                if lacking:
                    yield f"{device} lacks {len(lacking)} of {conversation[:8]}, the first is {log[lacking[0] - 1]}"
                    break


def _not_resumed(journal: Journal, logs: Logs) -> Iterator[str]:
    """Yield resumed devices that lack an entry acknowledged before they caught up."""
    had: dict[tuple[str, str, int], float] = {}
    for given in journal.given:
        had.setdefault((given.device, given.conversation, given.line.seq), given.at)
    may_see = {conversation: intervals(log) for conversation, log in logs.items()}
    answered = sorted((send for send in journal.sends if send.seqs), key=lambda send: send.answered_at or 0.0)
    # When a device has looked once, what it had to have then need not be looked at again.
    looked: dict[str, int] = {}
    for resumed in sorted(journal.resumed, key=lambda each: each.done_at):
        user, start = journal.users[resumed.device], looked.get(resumed.device, 0)
        for number in range(start, len(answered)):
            send = answered[number]
            if send.answered_at is None or send.answered_at >= resumed.opened_at:
                looked[resumed.device] = number
                break
            seq, spans = min(send.seqs), may_see.get(send.conversation, {}).get(user, [])
            if not any(first <= seq <= last for first, last in spans):
                continue
            if had.get((resumed.device, send.conversation, seq), float("inf")) > resumed.done_at:
                yield f"{resumed.device} had looked at all that was named, and still lacked {send}"
                return


def _late(journal: Journal, logs: Logs) -> Iterator[str]:
    """Yield acknowledged entries delivered too late, counted from the end of the last fault."""
    had: dict[tuple[str, int], list[Given]] = defaultdict(list)
    first: set[tuple[str, str, int]] = set()
    for given in journal.given:
        if (key := (given.device, given.conversation, given.line.seq)) not in first:
            first.add(key)
            had[given.conversation, given.line.seq].append(given)
    for send in journal.sends:
        if send.answered_at is None or not send.seqs:
            continue
        due = _peace(journal.struck, send.answered_at) + BACK_S
        for given in had[send.conversation, min(send.seqs)]:
            if given.at > due:
                last = [each.name for each in journal.struck if each.at < given.at][-1:]
                late = f"{given.device} was given {send} only {given.at - due + BACK_S:.1f} s after it could be"
                yield f"{late}, {given.at - send.at:.1f} s after it was sent; last struck: {last}"
                return


def _peace(struck: Iterable[Struck], since: float) -> float:
    """Return the time after which no fault struck for as long as devices may take to reconnect."""
    for each in struck:
        if each.at < since + BACK_S and each.healed_at > since:
            since = each.healed_at
    return since


def _leaked(journal: Journal, logs: Logs) -> Iterator[str]:
    """Yield reads and writes outside of membership, and deliveries to revoked devices."""
    may_see = {conversation: intervals(log) for conversation, log in logs.items()}
    for given in journal.given:
        spans = may_see.get(given.conversation, {}).get(journal.users[given.device], [])
        if not any(first <= given.line.seq <= last for first, last in spans):
            yield f"{given.device} was given {given.line} of {given.conversation[:8]}, and may see only {spans}"
    for conversation, log in logs.items():
        for line in log:
            spans = may_see[conversation].get(line.actor, [])
            within = any(first <= line.seq < last or last == log[-1].seq >= line.seq >= first for first, last in spans)
            if line.text is not None and not within:
                yield f"{conversation[:8]} has {line}, whose author was a member only in {spans}"
    yield from _given_after_revocation(journal)


def _given_after_revocation(journal: Journal) -> Iterator[str]:
    """Yield entries delivered to revoked devices: later ones, and queued ones unless a fault was active."""
    for revoked in journal.revoked:
        since: dict[str, int] = {}
        for send in journal.sends:
            if send.at > revoked.at + CUT_OFF_S and send.seqs:
                since[send.conversation] = min(*send.seqs, since.get(send.conversation, min(send.seqs)))
        # A server that is frozen just then still holds what it was to tell before.
        broken = (each.healed_at for each in journal.struck if each.at <= revoked.at + CUT_OFF_S)
        due = max((revoked.at, *broken)) + CUT_OFF_S
        for given in journal.given:
            late = given.device == revoked.device and given.at > revoked.at + CUT_OFF_S
            if late and (given.at > due or given.line.seq >= since.get(given.conversation, given.line.seq + 1)):
                yield f"{given.device} was given {given.line} {given.at - revoked.at:.2f} s after it was signed out"


def _by_seq(logs: Logs) -> dict[str, dict[int, Line]]:
    return {conversation: {line.seq: line for line in log} for conversation, log in logs.items()}


def _by_device(given: Iterable[Given]) -> dict[tuple[str, str], list[Given]]:
    devices: dict[tuple[str, str], list[Given]] = defaultdict(list)
    for each in given:
        devices[each.device, each.conversation].append(each)
    return devices

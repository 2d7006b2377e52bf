"""Pure functions that check the record of pushes against the promise P12."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tests.faults.journal import Line, Struck
from tests.faults.judge import Broken, Log, Logs, intervals
from tests.faults.push.journal import WITHDRAWAL, Pushed, PushJournal

# A home knows within this time that a device has gone; after a fault, that a device has gone with its server.
CLOSED_S: Final = 2.0
DIED_S: Final = 11.0
# A device that goes so soon after a fault may be known where it was before.
RESTORED_S: Final = 5.0
# A push is queued within this time after an acknowledgement or after a fault: homes wait 5 s until devices are back.
QUEUED_S: Final = 10.0
# What is queued is sent within this time, unless another fault strikes meanwhile.
SENT_S: Final = 10.0
# An event is claimed from a dead server after 30 s, and the servers look for some every 5 s.
CLAIMED_S: Final = 40.0
BADGE: Final = "badge"
"""The collapse id of withdrawals that change only the number on the icon."""

# Redis loses what has waited there for long: a push that one of these could still meet is not promised.
LOSSES: Final = (
    "Valkey flushed",
    "Valkey flushed while devices are away",
    "Valkey failed over with loss",
    "Valkey killed",
)


@dataclass(frozen=True, slots=True)
class Promise:
    """A push that is promised until `due`: of this entry or of a later one of its conversation, to this token."""

    token: str
    user: str
    conversation: str
    seq: int
    sent_at: float
    due: float

    def __str__(self) -> str:
        return f"seq {self.seq} of {self.conversation[:8]} to {self.token[:8]} of {self.user[:8]}"


def broken_push_promises(journal: PushJournal, logs: Logs, struck: Sequence[Struck]) -> list[Broken]:
    """Return the broken promises, empty if all were kept; `logs` are the complete logs at the end."""
    checks = {
        "P12 to whom": _to_wrong_users(journal, logs),
        "P12 content": _with_wrong_content(journal, logs),
        "P12 arrived": _not_arrived(journal, logs, struck),
        "P12 collapsed": _not_collapsed(journal),
        "P12 once": _repeated(journal, struck),
        "P12 withdrawn": _withdrawn_unread(journal, logs),
    }
    return [Broken(promise, example) for promise, examples in checks.items() for example in examples]


def promised_pushes(journal: PushJournal, logs: Logs, struck: Sequence[Struck]) -> list[Promise]:
    """Return every push that must have reached its token in the end."""
    tokens, visits = _by_user(journal), _visits_as_known(journal, struck)
    promises = list[Promise]()
    for send in journal.chat.sends:
        if not send.seqs or send.answered_at is None:
            continue
        seq, author = min(send.seqs), journal.chat.users[send.device]
        queued_by = _quiet_since(send.answered_at, struck, QUEUED_S) + QUEUED_S
        sent_by = _quiet_since(queued_by, struck, SENT_S) + SENT_S
        if _may_be_lost(send.at, sent_by, struck):
            continue
        for user in _lasting_members(logs[send.conversation], seq) - {author}:
            if (user, send.conversation) in journal.muted or _is_met(visits[user], send.at, queued_by):
                continue
            if _is_read(journal, user, send.conversation, seq, sent_by + CLAIMED_S):
                continue
            promises += [
                Promise(token, user, send.conversation, seq, send.at, sent_by + CLAIMED_S)
                for token in tokens.get(user, ())
            ]
    return promises


def missing_pushes(journal: PushJournal, promises: Iterable[Promise]) -> list[Promise]:
    """Return the promises that no push has kept in time."""
    return [each for each, arrived_at in _first_arrivals(journal, promises) if arrived_at > each.due]


def last_arrival(journal: PushJournal, promises: Iterable[Promise]) -> float:
    """Return when the last promise was kept by its first push, -inf if none was."""
    kept = (arrived_at for _, arrived_at in _first_arrivals(journal, promises) if arrived_at < float("inf"))
    return max(kept, default=float("-inf"))


def _first_arrivals(journal: PushJournal, promises: Iterable[Promise]) -> Iterator[tuple[Promise, float]]:
    """Yield when the first push came that keeps each promise, inf if none did."""
    lanes: dict[tuple[str, str], list[Pushed]] = defaultdict(list)
    for each in sorted(journal.notifications(), key=lambda each: each.at):
        lane = lanes[each.token, each.conversation]
        # An older one that comes later keeps no promise that is not kept already.
        if not lane or each.seq > lane[-1].seq:
            lane.append(each)
    for promise in promises:
        lane = lanes[promise.token, promise.conversation]
        first = bisect_left(lane, promise.seq, key=lambda each: each.seq)
        yield promise, lane[first].at if first < len(lane) else float("inf")


# Whom a push may reach, and with what.


def _to_wrong_users(journal: PushJournal, logs: Logs) -> Iterator[str]:
    """Yield pushes to users who may not see the entry, have written it, or have muted the conversation."""
    seen = {conversation: intervals(log) for conversation, log in logs.items()}
    for each in journal.pushed:
        user = journal.tokens.get(each.token, "nobody")
        spans = seen.get(each.conversation, {}).get(user, [])
        if each.kind == WITHDRAWAL:
            # Who has left is told to remove what is on the screen.
            if not spans:
                yield f"{each}: {user[:8]} never was a member"
            continue
        if not any(first <= each.seq <= last for first, last in spans):
            yield f"{each}: {user[:8]} may see only {spans}"
            continue
        line = logs[each.conversation][each.seq - 1]
        if line.actor == user:
            yield f"{each}: {user[:8]} has written it"
        elif line.text is not None and (user, each.conversation) in journal.muted:
            yield f"{each}: {user[:8]} has muted it"


def _with_wrong_content(journal: PushJournal, logs: Logs) -> Iterator[str]:
    """Yield pushes whose title or body is not that of their entry."""
    for each in journal.notifications():
        log = logs.get(each.conversation, [])
        line = log[each.seq - 1] if 0 < each.seq <= len(log) else None
        if line is None or not _shows(each, line, journal):
            yield f"{each}: the log has there {line or 'nothing'}"


def _shows(push: Pushed, line: Line, journal: PushJournal) -> bool:
    author, title = journal.names[line.actor], journal.titles.get(push.conversation, "")
    if line.text is not None:
        return (push.title, push.body) == ((title, f"{author}: {line.text}") if title else (author, line.text))
    added = {user for user, comes in line.moves if comes}
    return journal.tokens.get(push.token) in added and push.title == title and push.body.startswith(author)


def _withdrawn_unread(journal: PushJournal, logs: Logs) -> Iterator[str]:
    """Yield withdrawals of what a user who is a member has not read."""
    for each in journal.pushed:
        if each.kind != WITHDRAWAL:
            continue
        user = journal.tokens.get(each.token, "nobody")
        is_member = user in _lasting_members(logs.get(each.conversation, []), 1)
        if is_member and not _is_read(journal, user, each.conversation, each.seq, each.at):
            yield f"{each}: {journal.names[user]} had not read it"


# What must arrive.


def _not_arrived(journal: PushJournal, logs: Logs, struck: Sequence[Struck]) -> Iterator[str]:
    for promise in missing_pushes(journal, promised_pushes(journal, logs, struck)):
        last = [each.name for each in struck if each.at < promise.sent_at + QUEUED_S][-3:]
        yield f"{promise}, sent at {promise.sent_at:.1f}, was not pushed by {promise.due:.1f}; struck by then: {last}"


def _lasting_members(log: Log, seq: int) -> set[str]:
    """Return who may see an entry and has been a member ever since."""
    return {user for user, spans in intervals(log).items() if spans[-1][0] <= seq and spans[-1][1] == log[-1].seq}


def _visits_as_known(journal: PushJournal, struck: Sequence[Struck]) -> Mapping[str, list[tuple[float, float]]]:
    """Return when users may have been in the foreground, as their homes know it."""
    known: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for visit in journal.visits:
        left_at = visit.until - RESTORED_S
        quiet = _quiet_since(left_at, struck, RESTORED_S + CLOSED_S)
        gone = visit.until + CLOSED_S if quiet == left_at else max(visit.until, quiet) + DIED_S
        known[visit.user].append((visit.since, gone))
    return known


def _quiet_since(at: float, struck: Iterable[Struck], seconds: float) -> float:
    """Return the end of the last fault that began within `seconds` after a time, or after another one of these."""
    for each in struck:
        if each.at < at + seconds and each.healed_at > at:
            at = each.healed_at
    return at


def _may_be_lost(sent_at: float, sent_by: float, struck: Iterable[Struck]) -> bool:
    return any(each.name in LOSSES and each.at <= sent_by and each.healed_at >= sent_at for each in struck)


def _is_met(visits: Iterable[tuple[float, float]], since: float, until: float) -> bool:
    return any(first <= until and last >= since for first, last in visits)


def _is_read(journal: PushJournal, user: str, conversation: str, seq: int, by: float) -> bool:
    """Return whether a device said so, or the user had written something that is not before it."""
    said = any(
        (each.user, each.conversation) == (user, conversation) and each.seq >= seq and each.at <= by
        for each in journal.reads
    )
    return said or any(
        (journal.chat.users[each.device], each.conversation) == (user, conversation)
        and each.at <= by
        and max(each.seqs, default=0) >= seq
        for each in journal.chat.sends
    )


# How often.


def _not_collapsed(journal: PushJournal) -> Iterator[str]:
    """Yield pushes that do not replace the other ones of their conversation."""
    for each in journal.pushed:
        may_be = {each.conversation, BADGE} if each.kind == WITHDRAWAL else {each.conversation}
        if each.collapse_id not in may_be:
            yield f"{each}: the collapse id is another one"


def _repeated(journal: PushJournal, struck: Sequence[Struck]) -> Iterator[str]:
    """Yield notifications that were pushed again, though no fault had delayed the first one."""
    lanes: dict[tuple[str, str, int], list[Pushed]] = defaultdict(list)
    for each in journal.notifications():
        lanes[each.token, each.conversation, each.seq].append(each)
    for pushes in lanes.values():
        for one, other in pairwise(sorted(pushes, key=lambda each: each.at)):
            since = one.at - QUEUED_S - SENT_S
            if not any(each.at <= other.at and each.healed_at + CLAIMED_S >= since for each in struck):
                yield f"{one}, and again at {other.at:.1f}"


def _by_user(journal: PushJournal) -> Mapping[str, list[str]]:
    tokens: dict[str, list[str]] = defaultdict(list)
    for token, user in journal.tokens.items():
        tokens[user].append(token)
    return tokens

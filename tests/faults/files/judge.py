"""Pure functions that check the record of files, and what a system holds at the end, against the promise P13."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from media_service.model.media import MediaState
from tests.faults.files.audit import Holdings
from tests.faults.files.journal import FileJournal
from tests.faults.journal import Journal, Struck
from tests.faults.judge import Broken

# Devices are connected again so long after a fault of chat.
RECOVERED_S = 10.0
TEXT_S = 5.0
TEXTS_IN_TIME = 0.95


def broken_file_promises(journal: FileJournal, holdings: Holdings) -> list[Broken]:
    """Return what was lost, and what was left behind."""
    checks = {"P13 kept": _lost, "P13 removed": _left_behind}
    return [Broken(promise, example) for promise, check in checks.items() for example in check(journal, holdings)]


def _lost(journal: FileJournal, holdings: Holdings) -> Iterator[str]:
    """Yield wrong answers, missing messages, and referenced files that a member cannot download unchanged."""
    yield from journal.violations
    for reference in journal.references:
        stands = holdings.messages.get((reference.conversation, reference.seq))
        if stands != reference.media_id and not reference.deleting:
            yield f"{reference} was acknowledged, but the log has there {stands or 'no file'}"
    complete = {file.media_id for file in holdings.files if file.state is MediaState.READY}
    for media_id in sorted(holdings.referenced):
        file = journal.files.get(media_id)
        if file is None:
            yield f"a message refers to {media_id}, of which no upload was acknowledged"
        elif media_id not in complete:
            yield f"{file}: a message refers to it, and it has no record"
    for key in sorted(holdings.needed.keys() - holdings.objects):
        yield f"file {holdings.needed[key].media_id} needs the object {key}, which is not there"
    for (media_id, member), digest in holdings.downloads.items():
        if (file := journal.files.get(media_id)) is not None and digest != file.sha256:
            yield f"{file}: {member} {'downloaded other bytes' if digest else 'cannot download it'}"


def _left_behind(_: FileJournal, holdings: Holdings) -> Iterator[str]:
    """Yield records, objects and uploads that nothing needs."""
    for each in holdings.surplus:
        yield f"{each} is left, and nothing needs it"


def delayed_texts(journal: Journal, media_faults: Collection[str]) -> list[Broken]:
    """Return a broken promise if text messages waited while the media service or its store was away."""
    sends = [
        send
        for first, last in _windows(journal.struck, media_faults)
        for send in journal.sends
        if first <= send.at < last
    ]
    late = [send for send in sends if send.answered_at is None or send.answered_at - send.at > TEXT_S]
    if not sends or len(late) <= (1 - TEXTS_IN_TIME) * len(sends):
        return []
    return [Broken("P13 apart", f"{len(late)} of {len(sends)} texts sent without media waited, such as {late[0]}")]


def _windows(struck: Collection[Struck], media_faults: Collection[str]) -> Iterator[tuple[float, float]]:
    """Yield the times of media faults in which chat had recovered from the faults before."""
    recovered = 0.0
    for each in sorted(struck, key=lambda each: each.at):
        if each.name in media_faults:
            yield max(each.at, recovered), each.healed_at
        else:
            recovered = each.healed_at + RECOVERED_S

"""What the play found out, and the verdicts drawn from it at the end."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

from parley_client.demo import checks
from parley_client.demo.participants import ObservationTimeout, Participant, ParticipantPool
from parley_client.demo.record import AcknowledgedMessage, DeviceRecord, RecordedEntry, ShownMessage, record_entry
from parley_client.demo.report import Report
from parley_client.errors import ParleyError

CLAIMS = {
    "P1": "durable: what was acknowledged is in the log, where the answer said",
    "P2": "ordered: every device was given the same 1, 2, 3 …, and senders keep their order",
    "P3": "exactly once: a message is there once, and a retry gets the first answer",
    "P4": "delivered: every acknowledged message reached every device of every member",
    "P5": "resume: a device that was away was given what it missed, and only that",
    "P8": "isolation: strangers, former members and revoked devices are kept out",
    "changes": "edits, deletions and reactions are the same on every device, wherever it was",
    "receipts": "delivered and read watermarks and unread counts are right",
    "members": "the conversations have the members they were made with",
    "history": "history by call is what the devices put together",
    "mesh": "messages and answers crossed between servers",
}
# What is claimed instead when a part could not be checked.
PARTIAL_CLAIMS = {"P8": "isolation: strangers are kept out"}


class Findings:
    """The players and their roles, the conversations, and the troubles noted during the play."""

    alice: Participant
    bob: Participant
    carol: Participant
    eve: Participant
    laptop: Participant
    tablet: Participant

    def __init__(self, report: Report) -> None:
        self.report = report
        self.direct = ""
        self.group = ""
        self.carol_last_seq: int | None = None
        self.heads_while_away: dict[str, int] = {}
        self.expected_messages: dict[int, ShownMessage] = {}
        """What second thoughts made of messages of the group, by seq."""
        self.record_before_absence: DeviceRecord | None = None
        self._failures: dict[str, list[str]] = defaultdict(list)

    def add_failure(self, promise: str, what: str) -> None:
        """Note something that should not be."""
        self._failures[promise].append(what)

    def failures(self, promise: str) -> list[str]:
        """What was noted under a promise."""
        return self._failures[promise]

    def assign_roles(self, people: list[Participant]) -> None:
        """Alice is the first; bob the first who lives elsewhere, if anybody does; carol and eve whoever is left."""
        self.alice, *others = people
        others.sort(key=lambda player: player.session.home == self.alice.session.home)
        self.bob, self.carol, self.eve = others[:3]
        for name in ("alice", "bob", "carol", "eve"):
            getattr(self, name).rename(f"{name}'s phone")

    @property
    def devices(self) -> list[Participant]:
        """The devices that take part."""
        return [self.alice, self.laptop, self.bob, self.tablet, self.carol]

    def device_conversations(self) -> Iterator[tuple[Participant, str]]:
        """Every device with every conversation it should have."""
        for player in self.devices:
            if player is not self.carol:
                yield player, self.direct
            yield player, self.group

    def acknowledged(self, conversation: str) -> list[AcknowledgedMessage]:
        """All messages of a conversation that the server said it has."""
        sent = [each for player in self.devices for each in player.sent]
        return [each for each in sent if each.conversation_id == conversation]

    def full_record(self, player: Participant) -> DeviceRecord:
        """All a device was given, before and after it was away."""
        if player is not self.tablet or self.record_before_absence is None:
            return player.record
        whole = DeviceRecord(player.name)
        for part in (self.record_before_absence, player.record):
            for conversation, entries in part.entries.items():
                whole.entries[conversation] += entries
        return whole

    def visible_until(self, player: Participant, conversation: str) -> int | None:
        """Up to where a device should have a conversation; None: all of it."""
        return self.carol_last_seq if player is self.carol and conversation == self.group else None

    def received_all(self, player: Participant, conversation: str) -> bool:
        """Whether a device has been given all that was acknowledged and is its to have."""
        sent, until = self.acknowledged(conversation), self.visible_until(player, conversation)
        return not checks.check_delivered(sent, self.full_record(player), conversation, until)

    def message_differences(self, player: Participant) -> list[str]:
        """Where a device shows something else than second thoughts made of a message."""
        view = player.view(self.group)
        troubles = []
        for seq, wanted in self.expected_messages.items():
            message = view.message(seq)
            shown = (message.text, message.deleted, tuple(message.reactions.items())) if message else None
            if shown != wanted:
                troubles.append(f"{player.name} shows {shown} at seq {seq}, and not {wanted}")
        return troubles

    def expected_unread(self, player: Participant, conversation: str) -> int:
        """How many messages a user who marked nothing as read has not read: those after the own last one."""
        sent = self.acknowledged(conversation)
        own = max((each.seq for each in sent if each.actor_id == player.user_id), default=0)
        return sum(1 for each in sent if each.seq > own)

    async def check_unread(self, player: Participant, conversation: str, count: int, patience: float) -> None:
        """The server says so many messages are unread, within `patience` seconds."""
        ends = asyncio.get_running_loop().time() + patience
        while True:
            told = (await player.client.conversations.get(conversation)).unread_count
            if told == count:
                return
            if asyncio.get_running_loop().time() > ends:
                self.add_failure("receipts", f"{player.name} has {count} unread messages, the server says {told}")
                return
            await asyncio.sleep(0.05)


async def add_verdicts(found: Findings, cast: ParticipantPool, patience: float) -> None:
    """Read the logs back on a device that has nothing, and judge every promise."""
    logs: dict[str, list[RecordedEntry]] = {}
    if found.group:
        try:
            logs = await _read_logs(found, cast, patience)
            await _compare_history(found, logs)
        except (ParleyError, ObservationTimeout) as error:
            found.add_failure("P5", f"a new device could not read the logs: {error}")
        _check_promises(found, logs)
    _check_mesh(found)
    for promise, claim in CLAIMS.items():
        if any(each.startswith(f"{promise}:") for each in found.report.skipped):
            claim = PARTIAL_CLAIMS.get(promise, claim)
        found.report.add_verdict(promise, claim, found.failures(promise))


async def _read_logs(found: Findings, cast: ParticipantPool, patience: float) -> dict[str, list[RecordedEntry]]:
    """The whole logs, as they are given to a device that has nothing and was not there."""
    witness = await cast.add_device(found.bob, "bob's new phone")
    await witness.connect(patience)
    for conversation in (found.direct, found.group):
        head = (await witness.client.conversations.get(conversation)).head_seq
        await witness.wait_until(
            partial(_has_length, witness.record, conversation, head),
            "a new device was not given the whole of a conversation",
            patience,
        )
        for trouble in checks.check_gapless(witness.record, conversation):
            found.add_failure("P5", trouble)
    _add_failures(found, "changes", found.message_differences(witness))
    return dict(witness.record.entries)


def _has_length(notebook: DeviceRecord, conversation: str, length: int) -> bool:
    return len(notebook.seqs(conversation)) >= length


async def _compare_history(found: Findings, logs: dict[str, list[RecordedEntry]]) -> None:
    for conversation, log in logs.items():
        messages = found.bob.client.messages.before(conversation, limit=len(log) + 1)
        history = [record_entry(entry) async for entry in messages][::-1]
        wanted = [entry for entry in log if entry.is_message]
        if [entry.seq for entry in history] != [entry.seq for entry in wanted] or not all(
            one.is_same_entry(other) for one, other in zip(history, wanted, strict=True)
        ):
            found.add_failure("history", f"{len(history)} messages by call, {len(wanted)} in the log")


def _check_promises(found: Findings, logs: dict[str, list[RecordedEntry]]) -> None:
    everything = found.acknowledged(found.direct) + found.acknowledged(found.group)
    _add_failures(found, "P1", checks.check_durable(everything, logs))
    _add_failures(found, "P2", checks.check_sender_order(everything))
    _add_failures(found, "P3", checks.check_exactly_once(everything, logs))
    for player, conversation in found.device_conversations():
        notes = found.full_record(player)
        _add_failures(found, "P2", checks.check_gapless(notes, conversation))
        _add_failures(found, "P2", checks.check_matches_log(notes, conversation, logs.get(conversation, ())))
        until = found.visible_until(player, conversation)
        _add_failures(found, "P4", checks.check_delivered(everything, notes, conversation, until))
    if found.record_before_absence:
        for conversation, head in found.heads_while_away.items():
            after = found.tablet.record
            _add_failures(found, "P5", checks.check_resumed(found.record_before_absence, after, conversation, head))


def _check_mesh(found: Findings) -> None:
    alice, bob = found.alice, found.bob
    if alice.session.home == bob.session.home:
        home = alice.session.home or "an unknown one"
        found.add_failure("mesh", f"only one server was seen ({home}): the demo needs two chat servers")
        return
    for one, other in ((alice, bob), (bob, alice), (alice, found.tablet), (found.tablet, alice)):
        live = {each.content for page in found.full_record(other).entries.values() for each in page if each.live}
        if not live & {each.text for each in one.sent}:
            found.add_failure("mesh", f"nothing {one.name} sent reached {other.name}, who lives elsewhere")


def _add_failures(found: Findings, promise: str, troubles: list[str]) -> None:
    for each in troubles:
        found.add_failure(promise, each)

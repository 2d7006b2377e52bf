"""The findings of the scenario, and the verdicts derived from them at the end."""

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
    "P1": "durable: every acknowledged message is in the log at its acknowledged seq",
    "P2": "ordered: every device received the same 1, 2, 3 …, in each sender's order",
    "P3": "exactly once: every message is stored once, and a retry gets the first answer",
    "P4": "delivered: every acknowledged message reached every device of every member",
    "P5": "resume: a device that reconnected received exactly what it missed",
    "P8": "isolation: strangers, former members and revoked devices have no access",
    "changes": "edits, deletions and reactions are the same on every device",
    "receipts": "delivered and read watermarks and unread counts are correct",
    "members": "conversations have the members they were created with",
    "history": "the history call returns the messages of the log",
    "mesh": "messages were delivered between servers",
}
# The claims that remain if a part of a promise could not be checked.
PARTIAL_CLAIMS = {"P8": "isolation: strangers have no access"}


class Findings:
    """The participants by role, the conversations, and the failures recorded during the scenario."""

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
        """The state of the changed messages of the group, by seq."""
        self.record_before_absence: DeviceRecord | None = None
        self._failures: dict[str, list[str]] = defaultdict(list)

    def add_failure(self, promise: str, failure: str) -> None:
        """Record a failure under a promise."""
        self._failures[promise].append(failure)

    def failures(self, promise: str) -> list[str]:
        """Return the failures recorded under a promise."""
        return self._failures[promise]

    def assign_roles(self, participants: list[Participant]) -> None:
        """Assign alice to the first, bob to the first with another home if there is one, carol and eve to the next."""
        self.alice, *others = participants
        others.sort(key=lambda participant: participant.session.home == self.alice.session.home)
        self.bob, self.carol, self.eve = others[:3]
        for name in ("alice", "bob", "carol", "eve"):
            getattr(self, name).rename(f"{name}'s phone")

    @property
    def devices(self) -> list[Participant]:
        """The devices of the conversations' members."""
        return [self.alice, self.laptop, self.bob, self.tablet, self.carol]

    def device_conversations(self) -> Iterator[tuple[Participant, str]]:
        """Yield every device with each conversation it should have."""
        for participant in self.devices:
            if participant is not self.carol:
                yield participant, self.direct
            yield participant, self.group

    def acknowledged(self, conversation: str) -> list[AcknowledgedMessage]:
        """Return all acknowledged messages of a conversation."""
        sent = [message for participant in self.devices for message in participant.sent]
        return [message for message in sent if message.conversation_id == conversation]

    def full_record(self, participant: Participant) -> DeviceRecord:
        """Return all entries that a device received, before and after its absence."""
        if participant is not self.tablet or self.record_before_absence is None:
            return participant.record
        whole = DeviceRecord(participant.name)
        for part in (self.record_before_absence, participant.record):
            for conversation, entries in part.entries.items():
                whole.entries[conversation] += entries
        return whole

    def last_visible_seq(self, participant: Participant, conversation: str) -> int | None:
        """Return the last seq that a device should have of a conversation; None: all of it."""
        return self.carol_last_seq if participant is self.carol and conversation == self.group else None

    def received_all(self, participant: Participant, conversation: str) -> bool:
        """Return True if a device received every acknowledged message that its user may see."""
        sent, until = self.acknowledged(conversation), self.last_visible_seq(participant, conversation)
        return not checks.check_delivered(sent, self.full_record(participant), conversation, until)

    def message_differences(self, participant: Participant) -> list[str]:
        """Return the changed messages that a device does not show in their expected state."""
        view = participant.view(self.group)
        failures = []
        for seq, expected in self.expected_messages.items():
            message = view.message(seq)
            shown = (message.text, message.deleted, tuple(message.reactions.items())) if message else None
            if shown != expected:
                failures.append(f"{participant.name} shows {shown} at seq {seq} instead of {expected}")
        return failures

    def expected_unread(self, participant: Participant, conversation: str) -> int:
        """Return the unread count of a user who has marked nothing as read: the messages after the user's last."""
        sent = self.acknowledged(conversation)
        last_own_seq = max((message.seq for message in sent if message.actor_id == participant.user_id), default=0)
        return sum(1 for message in sent if message.seq > last_own_seq)

    async def check_unread(self, participant: Participant, conversation: str, count: int, timeout_s: float) -> None:
        """Record a failure unless the server reports `count` unread messages within `timeout_s`."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            reported = (await participant.client.conversations.get(conversation)).unread_count
            if reported == count:
                return
            if asyncio.get_running_loop().time() > deadline:
                self.add_failure(
                    "receipts", f"{participant.name} has {count} unread messages, the server says {reported}"
                )
                return
            await asyncio.sleep(0.05)


async def add_verdicts(findings: Findings, pool: ParticipantPool, timeout_s: float) -> None:
    """Read the logs on a new device, check every promise and add the verdicts to the report."""
    logs: dict[str, list[RecordedEntry]] = {}
    if findings.group:
        try:
            logs = await _read_logs(findings, pool, timeout_s)
            await _compare_history(findings, logs)
        except (ParleyError, ObservationTimeout) as error:
            findings.add_failure("P5", f"a new device could not read the logs: {error}")
        _check_promises(findings, logs)
    _check_mesh(findings)
    for promise, claim in CLAIMS.items():
        if any(check.startswith(f"{promise}:") for check in findings.report.skipped):
            claim = PARTIAL_CLAIMS.get(promise, claim)
        findings.report.add_verdict(promise, claim, findings.failures(promise))


async def _read_logs(findings: Findings, pool: ParticipantPool, timeout_s: float) -> dict[str, list[RecordedEntry]]:
    """Return the logs by conversation, as a new device of bob receives them."""
    new_device = await pool.add_device(findings.bob, "bob's new phone")
    await new_device.connect()
    for conversation in (findings.direct, findings.group):
        head = (await new_device.client.conversations.get(conversation)).head_seq
        await new_device.wait_until(
            partial(_has_length, new_device.record, conversation, head),
            "a new device did not receive a whole conversation",
            timeout_s,
        )
        for failure in checks.check_gapless(new_device.record, conversation):
            findings.add_failure("P5", failure)
    _add_failures(findings, "changes", findings.message_differences(new_device))
    return dict(new_device.record.entries)


def _has_length(notebook: DeviceRecord, conversation: str, length: int) -> bool:
    return len(notebook.seqs(conversation)) >= length


async def _compare_history(findings: Findings, logs: dict[str, list[RecordedEntry]]) -> None:
    for conversation, log in logs.items():
        messages = findings.bob.client.messages.list_before(conversation, limit=len(log) + 1)
        history = [record_entry(message.entry) async for message in messages][::-1]
        expected = [entry for entry in log if entry.is_message]
        if [entry.seq for entry in history] != [entry.seq for entry in expected] or not all(
            one.is_same_entry(other) for one, other in zip(history, expected, strict=True)
        ):
            findings.add_failure(
                "history", f"the {len(history)} messages of the history call differ from the {len(expected)} in the log"
            )


def _check_promises(findings: Findings, logs: dict[str, list[RecordedEntry]]) -> None:
    everything = findings.acknowledged(findings.direct) + findings.acknowledged(findings.group)
    _add_failures(findings, "P1", checks.check_durable(everything, logs))
    _add_failures(findings, "P2", checks.check_sender_order(everything))
    _add_failures(findings, "P3", checks.check_exactly_once(everything, logs))
    for participant, conversation in findings.device_conversations():
        record = findings.full_record(participant)
        _add_failures(findings, "P2", checks.check_gapless(record, conversation))
        _add_failures(findings, "P2", checks.check_matches_log(record, conversation, logs.get(conversation, ())))
        until = findings.last_visible_seq(participant, conversation)
        _add_failures(findings, "P4", checks.check_delivered(everything, record, conversation, until))
    if findings.record_before_absence:
        for conversation, head in findings.heads_while_away.items():
            after = findings.tablet.record
            _add_failures(
                findings, "P5", checks.check_resumed(findings.record_before_absence, after, conversation, head)
            )


def _check_mesh(findings: Findings) -> None:
    alice, bob = findings.alice, findings.bob
    if alice.session.home == bob.session.home:
        home = alice.session.home or "an unknown one"
        findings.add_failure("mesh", f"only one server was seen ({home}): the demo needs two chat servers")
        return
    for one, other in ((alice, bob), (bob, alice), (alice, findings.tablet), (findings.tablet, alice)):
        live = {
            entry.content for entries in findings.full_record(other).entries.values() for entry in entries if entry.live
        }
        if not live & {message.text for message in one.sent}:
            findings.add_failure("mesh", f"nothing that {one.name} sent reached {other.name} live, across servers")


def _add_failures(findings: Findings, promise: str, failures: list[str]) -> None:
    for failure in failures:
        findings.add_failure(promise, failure)

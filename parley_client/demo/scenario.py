"""The scenario: alice, bob and carol talk on several devices, and eve is a stranger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from parley_client.demo.findings import Findings, add_verdicts
from parley_client.demo.isolation import check_former_members, check_revocation, check_strangers
from parley_client.demo.message_changes import change_messages
from parley_client.demo.participants import ObservationTimeout, Participant, ParticipantPool
from parley_client.demo.record import DeviceRecord
from parley_client.demo.report import Report
from parley_client.door import Tls
from parley_client.errors import AlreadyExists, NotServed, ParleyError

# Accounts created to find two with different home servers; with two servers, 1 in 2,000 runs fails to.
MAX_ACCOUNTS = 12
# Sends of each device in the checks with concurrent sends.
SENDS_PER_DEVICE = 10
# Rounds of messages between two servers.
MESH_ROUNDS = 5
# The pause between two timed sends, which stays below the rate limit of a device.
SEND_INTERVAL_S = 0.07

ProgressCallback = Callable[[str, int, int], None]
"""Called on progress with the check, the steps done and the total."""


async def run_demo(
    door: str,
    *,
    repair: bool = True,
    timeout_s: float = 10.0,
    sends: int = 200,
    tls: Tls | None = None,
    on_progress: ProgressCallback = lambda _check, _done, _total: None,
) -> Report:
    """Run the scenario against the system at `door` ("host:port") and return a verdict for each promise.

    `repair` False makes the devices leave gaps open, so that lost frames break P2 and P4. `timeout_s` bounds what a
    check waits for, other than connecting and sending; `sends` is the number of timed sends. Raise ParleyError if no
    account can be created, and DoorUnreachable if the system stops answering, because then there is no verdict.
    """
    async with ParticipantPool(door, tls, repair=repair) as pool:
        scenario = Scenario(pool, timeout_s, on_progress)
        await scenario.create_participants()
        await scenario.run_checks(sends)
        await pool.check_reachable()
        await add_verdicts(scenario.findings, pool, timeout_s)
        return scenario.findings.report


class Scenario:
    """The checks, in order. A failed check is recorded under its promise, and the next check runs."""

    def __init__(self, pool: ParticipantPool, timeout_s: float, on_progress: ProgressCallback) -> None:
        self.findings = Findings(Report())
        self._pool = pool
        self._timeout_s = timeout_s
        self._on_progress = on_progress

    async def create_participants(self) -> None:
        """Create the accounts, alice and bob with different homes, and their devices."""
        pool, findings = self._pool, self.findings
        participants = list(await asyncio.gather(*[pool.register(name) for name in ("alice", "bob", "carol", "eve")]))
        while len({participant.session.home for participant in participants}) < 2 and len(participants) < MAX_ACCOUNTS:
            self._on_progress("looking for two homes", len(participants), MAX_ACCOUNTS)
            participants.append(await pool.register(f"guest-{len(participants)}"))
        findings.assign_roles(participants)
        findings.laptop = await pool.add_device(findings.alice, "alice's laptop")
        findings.tablet = await pool.add_device(findings.bob, "bob's tablet")
        # The tablet connects to a server that is not its home.
        findings.tablet.home_hint = findings.alice.session.home
        for participant in findings.devices:
            await participant.connect()

    async def run_checks(self, sends: int) -> None:
        """Run all checks. `sends` is the number of timed sends."""
        async with self._check("members", "conversations can be created"):
            await self._open_conversations()
        if not self.findings.group:
            return
        async with self._check("P1", "concurrent sends are answered"):
            await self._send_concurrently("first")
        async with self._check("P5", "a device disconnects and resumes"):
            await self._test_resume()
        async with self._check("P3", "a retry with the same id gets the same answer"):
            await self._test_idempotency()
        async with self._check("mesh", "a device connected to another server than its home sends and receives"):
            await self._test_mesh()
        async with self._check("P4", "an idle system delivers promptly"):
            await self._measure_latency(sends)
        async with self._check("P4", "every acknowledged message reaches every device"):
            await self._await_delivery()
        async with self._check("receipts", "watermarks and unread counts"):
            await self._test_receipts()
        async with self._check("changes", "edits, deletions and reactions"):
            await change_messages(self.findings, self._timeout_s)
        async with self._check("P8", "strangers have no access"):
            await check_strangers(self.findings, self._timeout_s)
        async with self._check("P8", "former members have no access"):
            await check_former_members(self.findings, self._timeout_s)
        async with self._check("P8", "a revoked device is disconnected"):
            await check_revocation(self.findings, self._timeout_s)
        await self._await_delivery()

    @asynccontextmanager
    async def _check(self, promise: str, claim: str) -> AsyncIterator[None]:
        self._on_progress(claim, 0, 1)
        try:
            yield
        except NotServed:
            self.findings.report.skipped.append(f"{promise}: {claim}")
        except (ParleyError, ObservationTimeout) as error:
            await self._pool.check_reachable()
            self.findings.add_failure(promise, str(error))
        self._on_progress(claim, 1, 1)

    async def _open_conversations(self) -> None:
        findings, alice = self.findings, self.findings.alice
        direct = await alice.client.conversations.get_or_create_direct(findings.bob.user_id)
        other = await findings.bob.client.conversations.get_or_create_direct(alice.user_id)
        if other.conversation_id != direct.conversation_id:
            findings.add_failure("members", "alice and bob got two different conversations with each other")
        expected = {alice.user_id, findings.bob.user_id, findings.carol.user_id}
        others = [findings.bob.user_id, findings.carol.user_id]
        group = await alice.client.conversations.create_group("The demo", others)
        if {member.user_id for member in group.members} != expected:
            findings.add_failure("members", "the group does not have the members it was created with")
        findings.direct, findings.group = direct.conversation_id, group.conversation_id

    async def _send_concurrently(self, phase: str, absent: Participant | None = None) -> None:
        findings = self.findings
        pairs = [
            (participant, findings.direct)
            for participant in (findings.alice, findings.laptop, findings.bob, findings.tablet)
        ]
        pairs += [(participant, findings.group) for participant in (findings.alice, findings.bob, findings.carol)]
        async with asyncio.TaskGroup() as tasks:
            for participant, conversation in pairs:
                if participant is not absent:
                    tasks.create_task(self._send_from(participant, conversation, phase))

    async def _send_from(self, participant: Participant, conversation: str, phase: str) -> None:
        kind = "the group" if conversation == self.findings.group else "private"
        texts = [f"{participant.name} in {kind}, {phase} {n}" for n in range(SENDS_PER_DEVICE)]
        answers = await asyncio.gather(
            *[participant.send(conversation, text) for text in texts], return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, ParleyError):
                self.findings.add_failure("P1", f"{participant.name} could not send: {answer}")
            elif isinstance(answer, BaseException):
                raise answer

    async def _test_resume(self) -> None:
        findings = self.findings
        await self._await_delivery()
        await findings.tablet.disconnect()
        findings.record_before_absence, findings.tablet.record = (
            findings.tablet.record,
            DeviceRecord(findings.tablet.name),
        )
        await self._send_concurrently("while the tablet was away", absent=findings.tablet)
        for conversation in (findings.direct, findings.group):
            findings.heads_while_away[conversation] = max(
                message.seq for message in findings.acknowledged(conversation)
            )
        await findings.tablet.connect()
        await self._await_delivery()

    async def _test_idempotency(self) -> None:
        findings, alice = self.findings, self.findings.alice
        message_id, text = alice.client.new_id(), "sent twice, stored once"
        first = await alice.send_with_id(findings.direct, text, message_id)
        retry = await alice.send_with_id(findings.direct, text, message_id, recorded=False)
        if first.seq != retry.seq:
            findings.add_failure("P3", f"a client_message_id got seq {first.seq} first and seq {retry.seq} on retry")
        try:
            await alice.send_with_id(findings.direct, "something else", message_id, recorded=False)
        except AlreadyExists:
            return
        findings.add_failure("P3", "a client_message_id was accepted again with another text")

    async def _test_mesh(self) -> None:
        findings = self.findings
        for n in range(MESH_ROUNDS):
            for one, other in ((findings.alice, findings.tablet), (findings.tablet, findings.alice)):
                sent = await one.send(findings.direct, f"{one.name} to {other.name} {n}")
                await other.wait_received(sent.text, self._timeout_s)

    async def _measure_latency(self, sends: int) -> None:
        findings, lost_count = self.findings, 0
        await asyncio.sleep(1.0)  # the rate limit of the devices refills
        for n in range(sends):
            self._on_progress("idle sends", n, sends)
            text, start = f"idle {n}", time.perf_counter()
            await findings.alice.send(findings.direct, text)
            try:
                findings.report.latencies.append(await findings.bob.wait_received(text, self._timeout_s / 4) - start)
            except ObservationTimeout:
                lost_count += 1
                if lost_count == 3:
                    return
            await asyncio.sleep(SEND_INTERVAL_S)

    async def _await_delivery(self) -> None:
        """Wait until every device has every acknowledged message; the final checks report missing ones."""
        findings = self.findings
        deadline = time.monotonic() + self._timeout_s
        for participant, conversation in findings.device_conversations():
            with suppress(ObservationTimeout):
                await participant.wait_until(
                    partial(findings.received_all, participant, conversation),
                    f"not every acknowledged message reached {participant.name}",
                    max(0.01, deadline - time.monotonic()),
                )

    async def _test_receipts(self) -> None:
        findings, alice, bob = self.findings, self.findings.alice, self.findings.bob
        last = [await alice.send(findings.direct, f"not read yet {n}") for n in range(3)][-1]
        await bob.wait_received(last.text, self._timeout_s)
        await findings.check_unread(
            bob, findings.direct, findings.expected_unread(bob, findings.direct), self._timeout_s
        )
        bob.mark_read(findings.direct, last.seq)
        for device in (alice, findings.laptop):
            await device.wait_until(
                partial(device.has_read_watermark, findings.direct, bob.user_id, last.seq),
                f"{device.name} did not learn that bob read everything",
                self._timeout_s,
            )
        await findings.check_unread(bob, findings.direct, 0, self._timeout_s)

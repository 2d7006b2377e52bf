"""The play: alice, bob and carol talk on several devices, and eve listens at the door."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from parley_client.channel import Tls
from parley_client.demo.findings import Findings, add_verdicts
from parley_client.demo.isolation import check_former_members, check_revocation, check_strangers
from parley_client.demo.message_changes import change_messages
from parley_client.demo.participants import ObservationTimeout, Participant, ParticipantPool
from parley_client.demo.record import DeviceRecord
from parley_client.demo.report import Report
from parley_client.errors import AlreadyExists, NotServed, ParleyError

# Accounts made in search of two that live on different servers; with two servers, 1 in 2,000 runs fails.
MAX_ACCOUNTS = 12
# Sends of each device in the crowded scenes.
SENDS_PER_DEVICE = 10
# Turns of the talk between servers.
MESH_ROUNDS = 5
# Between two sends of the idle measurement, in seconds: below the rate a device is allowed.
SEND_INTERVAL_S = 0.07

ProgressCallback = Callable[[str, int, int], None]
"""Told of progress: the scene, how much of it is done, and how much there is."""


async def run_demo(
    door: str,
    *,
    repair: bool = True,
    patience: float = 10.0,
    sends: int = 200,
    tls: Tls | None = None,
    on_progress: ProgressCallback = lambda _scene, _done, _total: None,
) -> Report:
    """Play against a running system behind `door` ("host:port") and judge every promise it shows.

    `repair` False makes the devices leave gaps as they are, so that a lossy path breaks P2 and P4 by name.
    `patience` is how long, in seconds, anything may take. Raises ParleyError if no account can be made, and
    DoorUnreachable once nobody is at the door any more: then nothing can be judged.
    """
    async with ParticipantPool(door, tls, repair=repair) as cast:
        play = Scenario(cast, patience, on_progress)
        await play.create_participants()
        await play.run_scenes(sends)
        await cast.check_reachable()
        await add_verdicts(play.findings, cast, patience)
        return play.findings.report


class Scenario:
    """The scenes, in order. What breaks in one is noted under its promise, and the play goes on."""

    def __init__(self, pool: ParticipantPool, patience: float, on_progress: ProgressCallback) -> None:
        self.findings = Findings(Report())
        self._pool = pool
        self._patience = patience
        self._on_progress = on_progress

    async def create_participants(self) -> None:
        """Make the accounts, alice and bob at different homes, and their devices."""
        cast, found = self._pool, self.findings
        people = list(await asyncio.gather(*[cast.register(name) for name in ("alice", "bob", "carol", "eve")]))
        while len({player.session.home for player in people}) < 2 and len(people) < MAX_ACCOUNTS:
            self._on_progress("looking for two homes", len(people), MAX_ACCOUNTS)
            people.append(await cast.register(f"guest-{len(people)}"))
        found.assign_roles(people)
        found.laptop = await cast.add_device(found.alice, "alice's laptop")
        found.tablet = await cast.add_device(found.bob, "bob's tablet")
        # A device that is connected elsewhere than at its home.
        found.tablet.home_hint = found.alice.session.home
        for player in found.devices:
            await player.connect(self._patience)

    async def run_scenes(self, sends: int) -> None:
        """All scenes."""
        async with self._scene("members", "conversations can be made"):
            await self._open_conversations()
        if not self.findings.group:
            return
        async with self._scene("P1", "concurrent sends are answered"):
            await self._send_concurrently("first")
        async with self._scene("P5", "a device goes away and comes back"):
            await self._test_resume()
        async with self._scene("P3", "the same id again gets the same answer"):
            await self._test_idempotency()
        async with self._scene("mesh", "a device connected elsewhere than at its home talks"):
            await self._test_mesh()
        async with self._scene("P4", "an idle system delivers at once"):
            await self._measure_latency(sends)
        async with self._scene("P4", "everything acknowledged reaches every device"):
            await self._await_delivery()
        async with self._scene("receipts", "watermarks and unread counts"):
            await self._test_receipts()
        async with self._scene("changes", "edits, deletions and reactions"):
            await change_messages(self.findings, self._patience)
        async with self._scene("P8", "strangers are kept out"):
            await check_strangers(self.findings, self._patience)
        async with self._scene("P8", "former members are kept out"):
            await check_former_members(self.findings, self._patience)
        async with self._scene("P8", "a revoked device is cut off"):
            await check_revocation(self.findings, self._patience)
        await self._await_delivery()

    @asynccontextmanager
    async def _scene(self, promise: str, claim: str) -> AsyncIterator[None]:
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
        found, alice = self.findings, self.findings.alice
        chat = await alice.client.conversations.get_or_create_direct(found.bob.user_id)
        other = await found.bob.client.conversations.get_or_create_direct(alice.user_id)
        if other.conversation_id != chat.conversation_id:
            found.add_failure("members", "alice and bob were given two different conversations with each other")
        wanted = {alice.user_id, found.bob.user_id, found.carol.user_id}
        others = [found.bob.user_id, found.carol.user_id]
        group = await alice.client.conversations.create_group("The demo", others)
        if {member.user_id for member in group.members} != wanted:
            found.add_failure("members", "the group has other members than it was made with")
        found.direct, found.group = chat.conversation_id, group.conversation_id

    async def _send_concurrently(self, when: str, away: Participant | None = None) -> None:
        found = self.findings
        pairs = [(player, found.direct) for player in (found.alice, found.laptop, found.bob, found.tablet)]
        pairs += [(player, found.group) for player in (found.alice, found.bob, found.carol)]
        async with asyncio.TaskGroup() as crowd:
            for player, conversation in pairs:
                if player is not away:
                    crowd.create_task(self._send_from(player, conversation, when))

    async def _send_from(self, player: Participant, conversation: str, when: str) -> None:
        where = "the group" if conversation == self.findings.group else "private"
        said = [f"{player.name} in {where}, {when} {n}" for n in range(SENDS_PER_DEVICE)]
        answers = await asyncio.gather(*[player.send(conversation, text) for text in said], return_exceptions=True)
        for answer in answers:
            if isinstance(answer, ParleyError):
                self.findings.add_failure("P1", f"{player.name} could not send: {answer}")
            elif isinstance(answer, BaseException):
                raise answer

    async def _test_resume(self) -> None:
        found = self.findings
        await self._await_delivery()
        await found.tablet.disconnect()
        found.record_before_absence, found.tablet.record = found.tablet.record, DeviceRecord(found.tablet.name)
        await self._send_concurrently("while the tablet was away", away=found.tablet)
        for conversation in (found.direct, found.group):
            found.heads_while_away[conversation] = max(each.seq for each in found.acknowledged(conversation))
        await found.tablet.connect(self._patience)
        await self._await_delivery()

    async def _test_idempotency(self) -> None:
        found, alice = self.findings, self.findings.alice
        message_id, text = alice.client.new_id(), "said twice, there once"
        first = await alice.send_with_id(found.direct, text, message_id)
        again = await alice.send_with_id(found.direct, text, message_id, count=False)
        if first.seq != again.seq:
            found.add_failure("P3", f"a client_message_id got seq {first.seq}, and again {again.seq}")
        try:
            await alice.send_with_id(found.direct, "something else", message_id, count=False)
        except AlreadyExists:
            return
        found.add_failure("P3", "a client_message_id was taken again with other words")

    async def _test_mesh(self) -> None:
        found = self.findings
        for n in range(MESH_ROUNDS):
            for one, other in ((found.alice, found.tablet), (found.tablet, found.alice)):
                said = await one.send(found.direct, f"{one.name} to {other.name} {n}")
                await other.wait_received(said.text, self._patience)

    async def _measure_latency(self, sends: int) -> None:
        found, lost = self.findings, 0
        await asyncio.sleep(1.0)  # what the crowd used up of the rate comes back
        for n in range(sends):
            self._on_progress("idle sends", n, sends)
            text, began = f"idle {n}", time.perf_counter()
            await found.alice.send(found.direct, text)
            try:
                found.report.latencies.append(await found.bob.wait_received(text, self._patience / 4) - began)
            except ObservationTimeout:
                lost += 1
                if lost == 3:
                    return
            await asyncio.sleep(SEND_INTERVAL_S)

    async def _await_delivery(self) -> None:
        """Wait until every device has all that was acknowledged; what is missing is judged in the end."""
        found = self.findings
        ends = time.monotonic() + self._patience
        for player, conversation in found.device_conversations():
            with suppress(ObservationTimeout):
                await player.wait_until(
                    partial(found.received_all, player, conversation),
                    f"not everything acknowledged reached {player.name}",
                    max(0.01, ends - time.monotonic()),
                )

    async def _test_receipts(self) -> None:
        found, alice, bob = self.findings, self.findings.alice, self.findings.bob
        last = [await alice.send(found.direct, f"not read yet {n}") for n in range(3)][-1]
        await bob.wait_received(last.text, self._patience)
        await found.check_unread(bob, found.direct, found.expected_unread(bob, found.direct), self._patience)
        bob.mark_read(found.direct, last.seq)
        for watcher in (alice, found.laptop):
            await watcher.wait_until(
                partial(watcher.has_read_watermark, found.direct, bob.user_id, last.seq),
                f"{watcher.name} did not learn that bob read everything",
                self._patience,
            )
        await found.check_unread(bob, found.direct, 0, self._patience)

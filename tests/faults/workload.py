"""The workload of a run: devices that send to conversations at a rate, and the journal of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Final, Self

from parley.chat.v1 import chat_pb2
from servicekit.tasks import gather_limited
from tests.eventually import eventually
from tests.faults import canaries
from tests.faults.journal import Journal, Line, line_of
from tests.faults.judge import intervals
from tests.faults.talkers import Talker
from tests.raw.device import RawDevice
from tests.raw.world import World

# A device that waits for so many answers says nothing more meanwhile, as a person would.
UNANSWERED: Final = 40
# Talkers that connect, and logs that are read, at a time.
AT_ONCE: Final = 30


class Workload:
    """Talkers and their conversations; an async context manager that closes the talkers.

    `rate` is how many messages a second are sent in all. `errors` has what users were told that they should not have
    been, apart from the errors of each talker.
    """

    def __init__(self, world: World, random: Random, rate: float) -> None:
        self.journal = Journal()
        self.talkers: list[Talker] = []
        self.errors: list[str] = []
        self._world = world
        self._random = random
        self._rate = rate
        self._members: dict[str, list[str]] = {}
        # Who is in a conversation from its beginning to its end, and reads the whole of it.
        self._auditors: dict[str, RawDevice] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def add_conversation(self, conversation: str, devices: Sequence[RawDevice]) -> None:
        """Let the talkers of these users send to a conversation, whose first user may see all of it."""
        self._members[conversation] = [device.user_id for device in devices]
        self._auditors[conversation] = devices[0]

    async def add_talkers(self, *talkers: Talker) -> None:
        """Connect talkers."""

        async def connect(talker: Talker) -> None:
            await self._open.enter_async_context(talker)

        await gather_limited(connect, talkers, limit=AT_ONCE)
        self.talkers += talkers

    async def talk(self, is_running: Callable[[], bool]) -> None:
        """Let the talkers send messages at random while `is_running` returns true."""
        theirs = {talker.name: self._conversations_of(talker) for talker in self.talkers}
        said = Counter[str]()
        while is_running():
            await asyncio.sleep(self._random.expovariate(self._rate))
            talker = self._random.choice(self.talkers)
            if self._waiting(talker) < UNANSWERED:
                said[talker.name] += 1
                text = f"{talker.name} says {said[talker.name]} {canaries.TEXT}"
                talker.say(self._random.choice(theirs[talker.name]), text)

    def _conversations_of(self, talker: Talker) -> list[str]:
        return [conversation for conversation, users in self._members.items() if talker.who.user_id in users]

    def _waiting(self, talker: Talker) -> int:
        return Counter(send.device for send in self.journal.unanswered)[talker.name]

    async def wait_answered(self, timeout: float) -> None:
        """Wait until every send is answered. Raises AssertionError on timeout."""
        await eventually(lambda: not self.journal.unanswered, timeout)

    async def logs(self) -> dict[str, list[Line]]:
        """Return the complete logs, read by members who may see every entry."""
        logs = await gather_limited(lambda item: read_log(item[1], item[0]), self._auditors.items(), limit=AT_ONCE)
        return dict(zip(self._auditors, logs, strict=True))

    def count_missing(self, logs: dict[str, list[Line]]) -> int:
        """Return the number of entries that devices still lack."""
        has = Counter((device, conversation) for device, conversation, _ in self._distinct())
        gone = {each.device for each in self.journal.revoked}
        lacking = 0
        for conversation, log in logs.items():
            spans = intervals(log)
            for device, user in self.journal.users.items():
                if device not in gone:
                    should = sum(last - first + 1 for first, last in spans.get(user, []))
                    lacking += max(0, should - has[device, conversation])
        return lacking

    def _distinct(self) -> set[tuple[str, str, int]]:
        return {(each.device, each.conversation, each.line.seq) for each in self.journal.given}


async def read_log(device: RawDevice, conversation: str) -> list[Line]:
    """Return the complete log of a conversation, as a user sees it who may see every entry."""
    lines = list[Line]()
    while True:
        span = chat_pb2.EntryRange(conversation_id=conversation, after_seq=lines[-1].seq if lines else 0, limit=500)
        found = (await device.call(chat_pb2.ListEntriesRequest(fetch=chat_pb2.Fetch(ranges=[span])))).entries
        lines += [line_of(entry) for entry in found.entries]
        if found.ranges[0].complete:
            return lines

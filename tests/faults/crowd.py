"""Users who send messages during faults; some join and leave a group, or have devices revoked."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import combinations
from random import Random
from typing import Final

from parley.chat.v1 import account_pb2, chat_pb2
from tests.eventually import eventually
from tests.faults import canaries
from tests.faults.cluster import Cluster
from tests.faults.guest import remove_and_add
from tests.faults.journal import Journal, Line, Revoked, line_of
from tests.faults.judge import intervals
from tests.faults.retries import retry_while_unavailable
from tests.faults.talkers import RawTalker, SdkTalker, Talker
from tests.raw.device import RawDevice
from tests.raw.stream import StreamEnded
from tests.raw.world import World

MEMBERS: Final = 6
PAIRS: Final = 6
# A device that waits for so many answers says nothing more meanwhile, as a person would.
UNANSWERED: Final = 40
# The pauses of those who are signed out, in seconds.
VISITS: Final = (2.0, 5.0)


class Crowd:
    """Six members and a guest, with a device of the SDK and one of frames alone each; an async context manager.

    `square` is a group of the members, `club` one that the guest comes to and leaves, the rest are pairs. `rate` is
    how many messages a second are sent in all.
    """

    def __init__(self, cluster: Cluster, world: World, random: Random, rate: float) -> None:
        self.journal = Journal()
        self.talkers: list[Talker] = []
        self.errors: list[str] = []
        self._cluster = cluster
        self._world = world
        self._random = random
        self._rate = rate
        self._circles: dict[str, list[str]] = {}
        # Who is in a conversation from its beginning to its end, and looks at the whole of it.
        self._auditors: dict[str, RawDevice] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Crowd:
        names = [f"member-{number}" for number in range(MEMBERS)] + ["guest"]
        phones = await self._world.users(*names)
        self._admin, self._guest, members = phones[0], phones[-1], phones[:-1]
        self._circle(await self._admin.group(f"square {canaries.TITLE}", members[1:]), members)
        self._club = await self._admin.group("club", phones[1:])
        self._circle(self._club, phones)
        for one, other in self._random.sample(list(combinations(members, 2)), PAIRS):
            self._circle(await one.direct(other), [one, other])
        for name, phone in zip(names, phones, strict=True):
            await self._add_devices(name, phone)
        return self

    def _circle(self, conversation: str, devices: list[RawDevice]) -> None:
        self._circles[conversation] = [device.user_id for device in devices]
        self._auditors[conversation] = devices[0]

    async def _add_devices(self, name: str, phone: RawDevice) -> None:
        # Every other one on a cable that may be cut.
        doors = [self._cluster.stack.door, self._cluster.phones.address]
        self._random.shuffle(doors)
        app = SdkTalker(f"{name}'s app", await self._world.add_device(phone), doors[0], self.journal)
        raw = RawTalker(f"{name}'s frames", await self._world.add_device(phone), self.journal, at=doors[1])
        self.talkers += [await self._open.enter_async_context(app), await self._open.enter_async_context(raw)]

    @property
    def devices(self) -> list[RawDevice]:
        """Return the devices that keep a stream of the SDK open all the time, one of each user."""
        return [talker.who for talker in self.talkers if isinstance(talker, SdkTalker)]

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def talk(self, going_on: Callable[[], bool]) -> None:
        """Send messages while `going_on` returns true, then finish the sends in progress."""
        async with asyncio.TaskGroup() as group:
            for talker in self.talkers:
                group.create_task(self._talk(talker, going_on))
            guest = self._guest.user_id
            group.create_task(remove_and_add(self._admin, guest, self._club, self._random, going_on, self.errors))
            group.create_task(self._revoke_devices(going_on))

    async def _talk(self, talker: Talker, going_on: Callable[[], bool]) -> None:
        mine = [conversation for conversation, users in self._circles.items() if talker.who.user_id in users]
        number = 0
        while going_on():
            await asyncio.sleep(self._random.expovariate(self._rate / len(self.talkers)))
            if self._waiting(talker) < UNANSWERED:
                number += 1
                talker.say(self._random.choice(mine), f"{talker.name} says {number} {canaries.TEXT}")

    def _waiting(self, talker: Talker) -> int:
        return Counter(send.device for send in self.journal.unanswered)[talker.name]

    async def _revoke_devices(self, going_on: Callable[[], bool]) -> None:
        number = 0
        while going_on():
            number += 1
            name = f"spy {number}"
            spy: RawDevice = await retry_while_unavailable(partial(self._world.add_device, self._admin), self.errors)
            self.journal.users[name] = spy.user_id
            spy.strict = False
            spy.on_entry = partial(self.journal.gives, name)
            # If nobody can be reached it is signed out all the same.
            with suppress(AssertionError, StreamEnded):
                await spy.connect()
            await asyncio.sleep(self._random.uniform(*VISITS))
            request = account_pb2.RevokeDeviceRequest(device_id=spy.device_id)
            await retry_while_unavailable(partial(self._admin.call, request), self.errors)
            self.journal.revoked.append(Revoked(name, time.monotonic()))

    async def wait_answered(self, timeout: float) -> None:
        """Wait until every send is answered. Raises AssertionError on timeout."""
        await eventually(lambda: not self.journal.unanswered, timeout)

    async def logs(self) -> dict[str, list[Line]]:
        """Return the complete logs, read by members who may see every entry."""
        return {conversation: await read_log(device, conversation) for conversation, device in self._auditors.items()}

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

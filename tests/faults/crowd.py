"""Users who send messages during faults; some join and leave a group, or have devices revoked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import combinations
from random import Random
from typing import Final

from parley.chat.v1 import account_pb2
from tests.faults import canaries
from tests.faults.cluster import Cluster
from tests.faults.guest import remove_and_add
from tests.faults.journal import Revoked
from tests.faults.retries import retry_while_unavailable
from tests.faults.talkers import RawTalker, SdkTalker
from tests.faults.workload import Workload
from tests.raw.device import RawDevice
from tests.raw.stream import StreamEnded
from tests.raw.world import World

MEMBERS: Final = 6
PAIRS: Final = 6
# A device that waits for so many answers says nothing more meanwhile, as a person would.
UNANSWERED: Final = 40
# The pauses of those who are signed out, in seconds.
VISITS: Final = (2.0, 5.0)


class Crowd(Workload):
    """Six members and a guest, with a device of the SDK and one of frames alone each; an async context manager.

    `square` is a group of the members, `club` one that the guest comes to and leaves, the rest are pairs. `rate` is
    how many messages a second are sent in all.
    """

    def __init__(self, cluster: Cluster, world: World, random: Random, rate: float) -> None:
        super().__init__(world, random, rate)
        self._cluster = cluster

    async def __aenter__(self) -> Crowd:
        names = [f"member-{number}" for number in range(MEMBERS)] + ["guest"]
        phones = await self._world.users(*names)
        self._admin, self._guest, members = phones[0], phones[-1], phones[:-1]
        self.add_conversation(await self._admin.group(f"square {canaries.TITLE}", members[1:]), members)
        self._club = await self._admin.group("club", phones[1:])
        self.add_conversation(self._club, phones)
        for one, other in self._random.sample(list(combinations(members, 2)), PAIRS):
            self.add_conversation(await one.direct(other), [one, other])
        for name, phone in zip(names, phones, strict=True):
            await self._add_devices(name, phone)
        return self

    async def _add_devices(self, name: str, phone: RawDevice) -> None:
        # Every other one on a cable that may be cut.
        doors = [self._cluster.stack.door, self._cluster.phones.address]
        self._random.shuffle(doors)
        app = SdkTalker(f"{name}'s app", await self._world.add_device(phone), doors[0], self.journal)
        raw = RawTalker(f"{name}'s frames", await self._world.add_device(phone), self.journal, at=doors[1])
        await self.add_talkers(app, raw)

    @property
    def devices(self) -> list[RawDevice]:
        """Return the devices that keep a stream of the SDK open all the time, one of each user."""
        return [talker.who for talker in self.talkers if isinstance(talker, SdkTalker)]

    async def talk(self, is_running: Callable[[], bool]) -> None:
        """Send messages while `is_running` returns true, then finish the sends in progress."""
        async with asyncio.TaskGroup() as group:
            group.create_task(super().talk(is_running))
            guest = self._guest.user_id
            group.create_task(remove_and_add(self._admin, guest, self._club, self._random, is_running, self.errors))
            group.create_task(self._revoke_devices(is_running))

    async def _revoke_devices(self, is_running: Callable[[], bool]) -> None:
        number = 0
        while is_running():
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

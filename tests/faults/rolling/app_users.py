"""Users of an app that is built on the SDK: a device each, in groups and in pairs."""

from __future__ import annotations

from random import Random
from typing import Final, Self

from servicekit.tasks import gather_limited
from tests.faults.talkers import SdkTalker
from tests.faults.workload import AT_ONCE, Workload
from tests.raw.device import RawDevice
from tests.raw.world import World

GROUP_MEMBERS: Final = 3


class AppUsers(Workload):
    """`count` users with one device of the SDK each; an async context manager.

    Each is in a group of GROUP_MEMBERS and in a pair, and sends to both.
    """

    def __init__(self, world: World, count: int, random: Random, rate: float) -> None:
        super().__init__(world, random, rate)
        self.apps: list[SdkTalker] = []
        self._count = count

    async def __aenter__(self) -> Self:
        names = [f"user-{number}" for number in range(self._count)]
        users = await gather_limited(self._world.user, names, limit=AT_ONCE)
        for start in range(0, self._count, GROUP_MEMBERS):
            first, *others = group = users[start : start + GROUP_MEMBERS]
            self.add_conversation(await first.group(f"group {start}", others), group)
        # The members of a pair are in different groups.
        half = self._count // 2
        for one, other in zip(users[:half], users[half:], strict=True):
            self.add_conversation(await one.direct(other), [one, other])
        door = self._world.stack.door
        self.apps = [SdkTalker(name, user, door, self.journal) for name, user in zip(names, users, strict=True)]
        await self.add_talkers(*self.apps)
        return self

    @property
    def devices(self) -> list[RawDevice]:
        """Return the devices, whose own streams are never opened."""
        return [app.who for app in self.apps]

    @property
    def complaints(self) -> list[str]:
        """Return what users were told that they should not have been."""
        return [*self.errors, *(f"{talker.name}: {error}" for talker in self.talkers for error in talker.errors)]

"""All users of a run: they talk, watch each other, get pushes, exchange files, and sign up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.faults.cluster import Cluster
from tests.faults.crowd import Crowd
from tests.faults.files.album import PAUSE_S, Album
from tests.faults.presence.onlookers import Onlookers
from tests.faults.push.audience import Audience
from tests.faults.sign_ups import SignUps
from tests.faults.talkers import TOKEN_S
from tests.raw.world import World

Act = Callable[[Callable[[], bool]], Coroutine[None, None, None]]
"""Does something while its argument returns true."""


@dataclass(frozen=True, slots=True)
class Population:
    """The users of a run by what they do. Without files nobody has an `album`."""

    world: World
    crowd: Crowd
    onlookers: Onlookers
    audience: Audience
    sign_ups: SignUps
    album: Album | None

    async def act(self, is_running: Callable[[], bool]) -> None:
        """Let all users act while `is_running` returns true."""
        uploaders = self.album.uploaders if self.album is not None else ()
        acts: list[Act] = [
            self.crowd.talk,
            self.onlookers.come_and_go,
            self.audience.take_part,
            self.sign_ups.work,
            *(partial(each.work, pause=PAUSE_S) for each in uploaders),
        ]
        async with asyncio.TaskGroup() as group:
            for act in acts:
                group.create_task(act(is_running))

    @property
    def tokens(self) -> list[str]:
        """Return the access and refresh tokens of all users."""
        return [*(device.token for device in self.world.devices), *self.sign_ups.tokens]

    @property
    def push_tokens(self) -> list[str]:
        """Return the push tokens of all devices."""
        return list(self.audience.journal.tokens)


@asynccontextmanager
async def open_population(
    cluster: Cluster, random: Random, seed: int, rate: float, *, files: bool
) -> AsyncIterator[Population]:
    """Create the users of a run, of whom the crowd sends `rate` messages a second, and close them in the end."""
    async with (
        World(cluster.stack, TOKEN_S) as world,
        Crowd(cluster, world, random, rate) as crowd,
        Onlookers(world, cluster.doors, crowd.devices, Random(seed)) as onlookers,
        Audience(world, cluster.doors, Random(seed)) as audience,
        AsyncExitStack() as open_,
    ):
        album = await open_.enter_async_context(Album(world, Random(seed))) if files else None
        yield Population(world, crowd, onlookers, audience, SignUps(world, Random(seed)), album)

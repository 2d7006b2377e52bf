"""Twenty members with two devices each in a group and direct conversations, whose devices reconnect while they send."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from enum import Enum
from functools import partial
from pathlib import Path
from random import Random

from parley_client import FileStore
from tests.eventually import eventually
from tests.proxy.frame_faults import RefusalCounter
from tests.proxy.rpc import Proxy
from tests.proxy.wire import Relay
from tests.raw.device import RawDevice
from tests.raw.refusal import of_status
from tests.raw.world import World
from tests.scenarios.sdk.corpus import utterances
from tests.scenarios.sdk.judge import Answered
from tests.scenarios.sdk.recording_device import RecordingDevice
from tests.scenarios.sdk.sending_device import AnswerCounter, SendingDevice

MEMBERS = 20
PAIRS = 15
MESSAGES = 2400
# The rest is said in pairs. All at once, it is more than a conversation takes in.
IN_GROUP = 600


class Connectivity(Enum):
    """The connectivity pattern of a device."""

    STAYS = "stays"
    WATCHED = "stays, behind a proxy that counts how often it is refused"
    LEAVES = "is closed, and opened again with what it kept"
    CUT = "loses its connection"


HABITS = [Connectivity.LEAVES] * 7 + [Connectivity.CUT] * 6 + [Connectivity.WATCHED] * 6 + [Connectivity.STAYS] * 21
ABSENCES = 3
# All absences are over when this share is answered: those who stay have more than that to say, so it comes.
LAST_ABSENCE = 0.6
PATIENCE = 30.0


def plan(random: Random) -> tuple[list[list[int]], list[list[tuple[int, str]]]]:
    """Return the members of each conversation, the group first, and each device's sends as (conversation, text)."""
    pairs = random.sample([[one, other] for one in range(MEMBERS) for other in range(one)], PAIRS)
    circles = [list(range(MEMBERS)), *pairs]
    lines: list[list[tuple[int, str]]] = [[] for _ in HABITS]
    for number, text in enumerate(utterances(MESSAGES, random)):
        circle = 0 if number < IN_GROUP else random.randrange(1, len(circles))
        lines[2 * random.choice(circles[circle]) + random.randrange(2)].append((circle, text))
    for said in lines:
        random.shuffle(said)
    return circles, lines


class ChattingMembers:
    """An async context manager that closes all devices. `circles` has the member ids of each conversation."""

    def __init__(self, world: World, folder: Path, random: Random) -> None:
        self.counter = AnswerCounter()
        self.tally = RefusalCounter(lambda result: of_status(result.refused).reason)
        self.speakers: list[SendingDevice] = []
        self.circles: dict[str, set[str]] = {}
        self.cuts = 0
        self._world = world
        self._folder = folder
        self._random = random
        self._stack = AsyncExitStack()
        self._habits = random.sample(HABITS, len(HABITS))
        self._relays: dict[SendingDevice, Relay] = {}

    async def __aenter__(self) -> ChattingMembers:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(speaker.disconnect() for speaker in self.speakers))
        await self._stack.aclose()

    @property
    def answered(self) -> list[Answered]:
        """Return all acknowledged messages."""
        return [each for speaker in self.speakers for each in speaker.answered]

    async def set_up(self) -> None:
        """Create members, conversations and devices, and connect all devices."""
        circles, lines = plan(self._random)
        phones = await self._world.users(*(f"member-{number}" for number in range(MEMBERS)))
        names = [await self._create_conversation([phones[number] for number in members]) for members in circles]
        watching = await self._stack.enter_async_context(Proxy(self._world.stack.door, self.tally))
        for number, said in enumerate(lines):
            device = phones[number // 2]
            if number % 2:
                device = await self._world.add_device(device)
            told = [(names[circle], text) for circle, text in said]
            await self._add_device(number, device, told, watching.address)
        await asyncio.gather(*(speaker.connect() for speaker in self.speakers))

    async def _create_conversation(self, members: list[RawDevice]) -> str:
        first, *others = members
        name = await (first.group("the members", others) if len(others) > 1 else first.direct(others[0]))
        self.circles[name] = {member.user_id for member in members}
        return name

    async def _add_device(self, number: int, device: RawDevice, lines: list[tuple[str, str]], watching: str) -> None:
        door, relay = self._world.stack.door, None
        if self._habits[number] is Connectivity.WATCHED:
            door = watching
        elif self._habits[number] is Connectivity.CUT:
            relay = await self._stack.enter_async_context(Relay(door))
            door = relay.address
        listener = RecordingDevice(device, door, FileStore(self._folder / f"{number}.json"))
        name = f"device {number % 2} of member {number // 2} (which {self._habits[number].value})"
        self.speakers.append(SendingDevice(name, listener, lines, self.counter))
        if relay is not None:
            self._relays[self.speakers[-1]] = relay

    async def send_all(self) -> None:
        """Send all messages while some devices reconnect; return when all are answered."""
        async with asyncio.TaskGroup() as tasks:
            for speaker, habit in zip(self.speakers, self._habits, strict=True):
                tasks.create_task(speaker.send_all())
                if habit in (Connectivity.LEAVES, Connectivity.CUT):
                    moments = self._random.sample(range(1, int(LAST_ABSENCE * MESSAGES)), 2 * ABSENCES)
                    tasks.create_task(self._interrupt(speaker, sorted(moments)))

    async def _interrupt(self, speaker: SendingDevice, moments: list[int]) -> None:
        """Cut or reconnect a device at `moments`, counted in acknowledged sends of all devices."""
        for away, back in zip(moments[::2], moments[1::2], strict=True):
            await self.counter.wait_for(away)
            if (relay := self._relays.get(speaker)) is not None:
                # The device may be on its way back from the cut before.
                await eventually(partial(_is_back, speaker, relay), PATIENCE)
                self.cuts += relay.cut() > 0
            else:
                await speaker.disconnect()
                await self.counter.wait_for(back)
                await speaker.connect()


def _is_back(speaker: SendingDevice, relay: Relay) -> bool:
    return speaker.listener.device.connected and relay.in_use

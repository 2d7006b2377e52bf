"""Twenty members talk in thirteen languages while their devices come and go: every device ends with the same logs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random

import pytest

from devstack.stack import Stack
from parley_client import FileStore
from tests.eventually import eventually
from tests.proxy.wire import Relay
from tests.raw.device import RawDevice
from tests.raw.world import World
from tests.scenarios.sdk.corpus import CJK, LANGUAGES, RIGHT_TO_LEFT, SEASONING, language, utterances
from tests.scenarios.sdk.judge import Line, differences, disorder, gaps, log_of
from tests.scenarios.sdk.listener import Listener
from tests.scenarios.sdk.speaker import Applause, Speaker

pytestmark = pytest.mark.scenario

SEED = 20
MEMBERS = 20
PAIRS = 15
MESSAGES = 2400
# The rest is said in pairs. More than a group takes in at once, so refusals are met, and mended.
IN_GROUP = 600
# Of the 40 devices: closed and opened again; cut off by the wire. The others just stay.
LEAVING, CUT = 7, 6
ABSENCES = 3
# How many answers to everybody an absence lasts.
AWAY = 60
# All absences begin before this share is answered. The devices that stay have more than that to say.
LAST_ABSENCE = 0.6


def plan(random: Random) -> tuple[list[list[int]], list[list[tuple[int, str]]]]:
    """The members of each conversation, the group first, and what each device says: (conversation, text)."""
    pairs = random.sample([[one, other] for one in range(MEMBERS) for other in range(one)], PAIRS)
    circles = [list(range(MEMBERS)), *pairs]
    lines: list[list[tuple[int, str]]] = [[] for _ in range(2 * MEMBERS)]
    for number, text in enumerate(utterances(MESSAGES, random)):
        circle = 0 if number < IN_GROUP else random.randrange(1, len(circles))
        lines[2 * random.choice(circles[circle]) + random.randrange(2)].append((circle, text))
    for said in lines:
        random.shuffle(said)
    return circles, lines


class Play:
    """All members with their conversations and devices; an async context manager that sends everybody home."""

    def __init__(self, world: World, door: str, folder: Path, random: Random) -> None:
        self.applause = Applause()
        self.speakers: list[Speaker] = []
        self.circles: dict[str, list[RawDevice]] = {}
        self._world = world
        self._door = door
        self._folder = folder
        self._random = random
        self._stack = AsyncExitStack()
        # Those who go away; with the cable that is cut, where they do not close themselves.
        self._travellers: list[tuple[Speaker, Relay | None]] = []

    async def __aenter__(self) -> Play:
        return self

    async def __aexit__(self, *_: object) -> None:
        for speaker in self.speakers:
            await speaker.leave()
        await self._stack.aclose()

    async def gather(self) -> None:
        """Make the members, their conversations and devices, and connect them all."""
        circles, lines = plan(self._random)
        phones = await self._world.users(*(f"member-{number}" for number in range(MEMBERS)))
        devices = [each for phone in phones for each in (phone, await self._world.another(phone))]
        names = [await self._conversation([phones[number] for number in members]) for members in circles]
        travelling = self._random.sample(range(len(devices)), LEAVING + CUT)
        for number, (device, said) in enumerate(zip(devices, lines, strict=True)):
            relay = await self._relay() if number in travelling[:CUT] else None
            door = relay.address if relay else self._door
            store = FileStore(self._folder / f"device-{number}.json")
            told = [(names[circle], text) for circle, text in said]
            speaker = Speaker(
                f"device {number % 2} of member {number // 2}", Listener(device, door, store), told, self.applause
            )
            self.speakers.append(speaker)
            if number in travelling:
                self._travellers.append((speaker, relay))
        await asyncio.gather(*(speaker.come() for speaker in self.speakers))

    async def perform(self) -> None:
        """Everybody says everything, while a third of the devices goes and comes."""
        async with asyncio.TaskGroup() as group:
            for speaker in self.speakers:
                group.create_task(speaker.speak())
            for speaker, relay in self._travellers:
                moments = sorted(self._random.sample(range(1, int(MESSAGES * LAST_ABSENCE)), ABSENCES))
                group.create_task(self._travel(speaker, relay, moments))

    def own(self, speaker: Speaker) -> list[str]:
        """The conversations a device has."""
        me = speaker.listener.who.user_id
        return [name for name, members in self.circles.items() if me in {each.user_id for each in members}]

    async def _travel(self, speaker: Speaker, relay: Relay | None, moments: list[int]) -> None:
        for moment in moments:
            await self.applause.reaches(moment)
            if relay is not None:
                relay.cut()
                continue
            await speaker.leave()
            await self.applause.reaches(moment + AWAY)
            await speaker.come()

    async def _conversation(self, members: list[RawDevice]) -> str:
        first, *others = members
        name = await first.group("the village", others) if len(others) > 1 else await first.direct(others[0])
        self.circles[name] = members
        return name

    async def _relay(self) -> Relay:
        return await self._stack.enter_async_context(Relay(self._door))


def given(listener: Listener) -> dict[str, list[Line]]:
    """What a device was given by live entries and fetches, in the order it came."""
    return {
        name: [Line(page.seq, page.actor_id, page.text) for page in pages]
        for name, pages in listener.pages.items()
        if pages
    }


def test_the_corpus_speaks_in_all_directions() -> None:
    said = "".join(utterances(MESSAGES, Random(SEED)))
    assert len(LANGUAGES) >= 10
    for name in (*RIGHT_TO_LEFT, *CJK):
        assert len(language(name)) > 20, name
    assert all(seasoning in said for seasoning in SEASONING)


@pytest.mark.timeout(240)
async def test_every_device_ends_with_the_same_logs(world: World, stack: Stack, tmp_path: Path) -> None:
    async with Play(world, stack.door, tmp_path, Random(SEED)) as play:
        await play.gather()
        await play.perform()
        answered = [each for speaker in play.speakers for each in speaker.answered]
        assert len(answered) == MESSAGES
        logs = {name: log_of(name, preface(play, name), answered) for name in play.circles}
        complaints = [each for name, log in logs.items() for each in gaps(name, log)] + disorder(answered)
        assert not complaints, "\n".join(complaints[:5])

        def all_have_all() -> bool:
            return not any(
                differences(speaker.name, given(speaker.listener), {name: logs[name] for name in play.own(speaker)})
                for speaker in play.speakers
            )

        with suppress(AssertionError):
            await eventually(all_have_all, 30.0)
        complaints = [
            each
            for speaker in play.speakers
            for each in differences(
                speaker.name, given(speaker.listener), {name: logs[name] for name in play.own(speaker)}
            )
        ]
        assert not complaints, "\n".join(complaints[:5])


def preface(play: Play, name: str) -> list[Line]:
    """The entries a conversation begins with: its members, and the title of a group."""
    creator = play.circles[name][0].user_id
    return [Line(seq, creator, None) for seq in range(1, 3 if len(play.circles[name]) > 2 else 2)]

"""Users with push tokens who are away, in the background, or come and go, and users who write to them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from random import Random
from typing import Final, Self

from google.protobuf.timestamp_pb2 import Timestamp

from parley.chat.v1 import conversation_pb2
from servicekit.tasks import gather_limited
from tests.eventually import eventually
from tests.faults.guest import remove_and_add
from tests.faults.journal import Line, Struck
from tests.faults.push.journal import PushJournal, Visit
from tests.faults.push.judge import missing_pushes, promised_pushes
from tests.faults.push.record import PushRecord
from tests.faults.push.visitor import Visitor
from tests.faults.retries import retry_while_unavailable
from tests.faults.talkers import RawTalker
from tests.faults.workload import read_log
from tests.raw.device import RawDevice, new_id
from tests.raw.presence import BACKGROUND, OFFLINE, ONLINE
from tests.raw.pushes import Pushes
from tests.raw.world import World

# Messages a second of both writers. Some of them go to the group of all or to 1-1 conversations, the others to short
# chats: until a chat goes on no later push replaces its last one, which must arrive.
RATE: Final = 3.0
IN_GROUP: Final = 0.2
IN_DIRECT: Final = 0.2
CHAT_MEMBERS: Final = (2, 5)
CHAT_MESSAGES: Final = (1, 3)
RESTS_S: Final = 90.0
# A writer who waits for so many answers writes nothing more meanwhile.
UNANSWERED: Final = 20
# How long users stay: long enough that messages are promised to those who are away.
STAYS_S: Final = (4.0, 40.0)
TITLE: Final = "audience"
WRITERS: Final = ("writer-1", "writer-2")
AWAY: Final = ("absent", "muting", "guest")
VISITORS: Final = ("visitor", "reader", "other reader")
# Logs that are read at a time.
READERS: Final = 8
# Events of a dead server are claimed after 30 s.
ARRIVED_S: Final = 60.0
FOREVER: Final = Timestamp(seconds=253402300799)


class Audience:
    """Two writers, a group of all, 1-1 conversations, and groups that chat for short; an async context manager.

    Of the others, `absent` with two devices, `muting`, who has muted the group, and `guest`, who is removed from it and
    added again, never connect. One stays in the background, and three come and go, two of whom read.
    """

    def __init__(self, world: World, doors: Sequence[str], random: Random) -> None:
        self.journal = PushJournal()
        self.errors: list[str] = []
        self._world = world
        self._doors = doors
        self._random = random
        self._writers: list[RawTalker] = []
        self._visitors: list[Visitor] = []
        # Who looks at the whole of a conversation.
        self._auditors: dict[str, RawDevice] = {}
        self._record = PushRecord(world.stack.layout.recorded_pushes)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        names = [*WRITERS, *AWAY, "background", *VISITORS]
        devices = dict(zip(names, await self._world.users(*names), strict=True))
        self.journal.names = {device.user_id: name for name, device in devices.items()}
        await self._register_tokens([*devices.values(), await self._world.add_device(devices["absent"])])
        await self._converse(devices)
        for number, name in enumerate(WRITERS):
            writer = RawTalker(name, devices[name], self.journal.chat, at=self._doors[number % len(self._doors)])
            self._writers.append(await self._open.enter_async_context(writer))
            # Nobody says whether it is in the foreground, so nothing is promised to it.
            self.journal.visits.append(Visit(writer.who.user_id, float("-inf")))
        await self._let_in(devices["background"], BACKGROUND)
        self._visitors = [await self._let_in(devices[name], OFFLINE, reads="reader" in name) for name in VISITORS]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def _register_tokens(self, devices: Sequence[RawDevice]) -> None:
        async with Pushes(self._world) as pushes:
            for device in devices:
                # Logs have the ids of devices, and must not have their tokens.
                self.journal.tokens[await pushes.register(device, prefix="token-")] = device.user_id

    async def _converse(self, devices: dict[str, RawDevice]) -> None:
        first, *others = devices.values()
        self._group = await first.group(TITLE, others)
        self._guest, self._admin = devices["guest"], first
        self.journal.titles[self._group] = TITLE
        self._auditors[self._group] = first
        for number, other in enumerate(others[1:]):
            writer = devices[WRITERS[number % len(WRITERS)]]
            self._auditors[await writer.direct(other)] = writer
        muting = devices["muting"]
        await muting.call(conversation_pb2.SetMuteRequest(conversation_id=self._group, mute_until_time=FOREVER))
        self.journal.muted.add((muting.user_id, self._group))

    async def _let_in(self, device: RawDevice, state: str, *, reads: bool = False) -> Visitor:
        at = self._random.choice(self._doors)
        return await self._open.enter_async_context(Visitor(device, state, self.journal, at, reads=reads))

    async def take_part(self, is_running: Callable[[], bool]) -> None:
        """Write, come and go while `is_running` returns true; of those who come and go, two are away in the end."""
        async with asyncio.TaskGroup() as group:
            for writer in self._writers:
                group.create_task(self._write(writer, is_running))
            for visitor in self._visitors:
                group.create_task(self._come_and_go(visitor, is_running))
            guest = self._guest.user_id
            group.create_task(remove_and_add(self._admin, guest, self._group, self._random, is_running, self.errors))
        for visitor, state in zip(self._visitors, (BACKGROUND, OFFLINE, ONLINE), strict=True):
            visitor.state = state

    async def _write(self, writer: RawTalker, is_running: Callable[[], bool]) -> None:
        directs = [each for each, auditor in self._auditors.items() if auditor is writer.who and each != self._group]
        chat, left, number = "", 0, 0
        # The chats that rest, and until when.
        resting = deque[tuple[str, float]]()
        while is_running():
            await asyncio.sleep(self._random.expovariate(RATE / len(self._writers)))
            if len(self.journal.chat.unanswered) >= UNANSWERED:
                continue
            number, choice, now = number + 1, self._random.random(), time.monotonic()
            if choice < IN_GROUP:
                conversation = self._group
            elif choice < IN_GROUP + IN_DIRECT:
                conversation = self._random.choice(directs)
            else:
                if not left:
                    chat = resting.popleft()[0] if resting and resting[0][1] < now else await self._begin_chat(writer)
                    left = self._random.randint(*CHAT_MESSAGES)
                conversation, left = chat, left - 1
                if not left:
                    resting.append((chat, now + RESTS_S))
            writer.say(conversation, f"{writer.name} writes {number}")

    async def _begin_chat(self, writer: RawTalker) -> str:
        others = [user for user in self.journal.names if user != writer.who.user_id]
        members = self._random.sample(others, self._random.randint(*CHAT_MEMBERS))
        title = f"chat {len(self._auditors)}"
        request = conversation_pb2.CreateGroupRequest(request_id=new_id(), title=title, member_ids=members)
        created = await retry_while_unavailable(partial(writer.who.call, request), self.errors)
        if created is None:
            return self._group
        conversation = str(created.conversation.conversation_id)
        self.journal.titles[conversation] = title
        self._auditors[conversation] = writer.who
        return conversation

    async def _come_and_go(self, visitor: Visitor, is_running: Callable[[], bool]) -> None:
        while is_running():
            visitor.state = self._random.choice((ONLINE, BACKGROUND, OFFLINE, OFFLINE))
            stays_s = self._random.uniform(*STAYS_S)
            with suppress(AssertionError):
                await eventually(lambda: not is_running(), stays_s)

    async def wait_answered(self, timeout: float) -> None:
        """Wait until every send is answered. Raises AssertionError on timeout."""
        await eventually(lambda: not self.journal.chat.unanswered, timeout)

    async def logs(self) -> dict[str, list[Line]]:
        """Return the complete logs."""
        logs = await gather_limited(lambda item: read_log(item[1], item[0]), self._auditors.items(), limit=READERS)
        return dict(zip(self._auditors, logs, strict=True))

    async def wait_arrived(self, logs: dict[str, list[Line]], struck: Sequence[Struck], timeout: float) -> None:
        """Wait until every push that is promised was recorded, or `timeout`."""
        promises = promised_pushes(self.journal, logs, struck)

        def has_arrived() -> bool:
            self.journal.pushed += self._record.read_new()
            return not missing_pushes(self.journal, promises)

        with suppress(AssertionError):
            await eventually(has_arrived, timeout)

    @property
    def complaints(self) -> list[str]:
        """Return what users were told that they should not have been."""
        told = [f"{writer.name}: {error}" for writer in self._writers for error in writer.errors]
        return [*told, *self.errors]

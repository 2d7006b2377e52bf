"""Permissions that are asked for at the same time are decided with one call, and never by what was stored before."""

from __future__ import annotations

import asyncio

import pytest

from presence_service.model.visibility import Audience, Permission
from presence_service.watching.permissions import MAX_PAIRS, Permissions
from servicekit.errors import ServiceUnavailable
from tests.eventually import run_ready
from tests.unit.presence.memory import MemoryDirectory, MemorySettings

ALICE, BOB, CAROL = "a" * 32, "b" * 32, "c" * 32


class Decider:
    """Permissions whose stores are in memory."""

    def __init__(self) -> None:
        self.settings = MemorySettings()
        self.directory = MemoryDirectory()
        self.permissions = Permissions(self.settings, self.directory)

    async def begin(self, viewer: str, *users: str) -> asyncio.Task[dict[str, Permission]]:
        """Ask what a viewer may see of users."""
        task = asyncio.create_task(self.permissions.find_for_viewer(viewer, users))
        await run_ready()
        return task


@pytest.fixture
def decider() -> Decider:
    return Decider()


async def test_many_viewers_are_decided_with_few_calls(decider: Decider) -> None:
    viewers = [f"{number:032x}" for number in range(200)]
    asking = [await decider.begin(viewer, ALICE, BOB) for viewer in viewers]
    decider.directory.answers.set()
    assert [await each for each in asking] == [{ALICE: Permission.LAST_SEEN, BOB: Permission.LAST_SEEN}] * 200
    assert len(decider.directory.asked) == 3, "two that began at once, and one for all that waited"


async def test_one_call_has_bounded_size(decider: Decider) -> None:
    decider.directory.answers.set()
    users = [f"{number:032x}" for number in range(MAX_PAIRS + 1)]
    assert len(await decider.permissions.find_for_viewer(ALICE, users)) == MAX_PAIRS + 1
    assert [len(pairs) for pairs in decider.directory.asked] == [MAX_PAIRS, 1]


async def test_decision_follows_what_changed_before_it_was_asked_for(decider: Decider) -> None:
    before = [await decider.begin(viewer, BOB) for viewer in (ALICE, CAROL)]
    decider.directory.blocked.add((BOB, ALICE))
    await decider.settings.update(BOB, None, Audience.NOBODY)
    after = [await decider.begin(viewer, BOB) for viewer in (ALICE, CAROL)]
    decider.directory.answers.set()
    assert [await each for each in before] == [{BOB: Permission.LAST_SEEN}] * 2
    assert [await each for each in after] == [{BOB: Permission.NOTHING}, {BOB: Permission.ONLINE}]


async def test_each_pair_of_a_joint_call_has_its_own_decision(decider: Decider) -> None:
    decider.directory.blocked.add((CAROL, BOB))
    await decider.settings.update(ALICE, Audience.NOBODY, None)
    waiting = [await decider.begin(ALICE, BOB), await decider.begin(BOB, ALICE)]
    joint = [await decider.begin(viewer, ALICE, BOB, CAROL) for viewer in (ALICE, BOB, CAROL)]
    decider.directory.answers.set()
    nothing, all_ = Permission.NOTHING, Permission.LAST_SEEN
    assert [list((await each).values()) for each in waiting] == [[nothing], [nothing]]
    assert [await each for each in joint] == [
        {ALICE: all_, BOB: nothing, CAROL: nothing},
        {ALICE: nothing, BOB: all_, CAROL: nothing},
        {ALICE: nothing, BOB: nothing, CAROL: all_},
    ]
    found = await decider.permissions.find_for_viewers(BOB, [ALICE, BOB, CAROL])
    assert found == {ALICE: nothing, BOB: all_, CAROL: nothing}


async def test_directory_that_does_not_answer_is_asked_once(decider: Decider) -> None:
    decider.directory.away = True
    with pytest.raises(ServiceUnavailable):
        await decider.permissions.find_for_viewer(ALICE, [BOB, CAROL])
    assert len(decider.directory.asked) == 1

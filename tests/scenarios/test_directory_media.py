"""Access to files: it follows what a user may see, and ends at once on every server."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest
from google.protobuf.message import Message

from parley.chat.v1 import account_pb2, chat_pb2, conversation_pb2, entry_pb2
from tests.eventually import eventually
from tests.raw.catalog import CatalogServer
from tests.raw.device import RawDevice, new_id
from tests.raw.directory import Directory
from tests.raw.world import PASSWORD, World
from tests.scenarios.test_directory import add, remove

pytestmark = pytest.mark.scenario


@dataclass
class Scenario:
    """Alice is the admin of a group with bob, where she has sent a file; carol is in no conversation."""

    world: World
    alice: RawDevice
    bob: RawDevice
    carol: RawDevice
    group: str
    file: str
    seq: int

    async def viewers(self, file: str = "") -> set[str]:
        """Return who of the three may see a file, by default the one that alice sent; all servers must agree."""
        users = {"alice": self.alice, "bob": self.bob, "carol": self.carol}
        found = [
            {name for name, user in users.items() if await directory.allows(user, file or self.file)}
            for directory in self.directories
        ]
        assert all(each == found[0] for each in found), found
        return found[0]

    async def is_referenced(self, file: str = "") -> bool:
        """Return whether anything refers to a file, by default the one that alice sent; all servers must agree."""
        found = [await directory.referenced(file or self.file) == [file or self.file] for directory in self.directories]
        assert len(set(found)) == 1, found
        return found[0]

    @property
    def directories(self) -> list[Directory]:
        """Return the directory of each server."""
        return [Directory(self.world, server) for server in range(len(self.world.servers))]


@pytest.fixture
def world(catalog_world: World, catalog: CatalogServer) -> World:
    """The users of one test, who may refer to every file."""
    catalog.open = True
    return catalog_world


@pytest.fixture
async def scenario(world: World) -> Scenario:
    alice, bob, carol = await world.users("alice", "bob", "carol")
    for device in (alice, bob, carol):
        await device.connect()
    group, file = await alice.group("Pictures", [bob]), new_file()
    return Scenario(world, alice, bob, carol, group, file, await alice.sent(group, media(file)))


def new_file() -> str:
    return uuid.uuid4().hex


def media(file: str) -> entry_pb2.Content:
    return entry_pb2.Content(media=entry_pb2.MediaReference(media_id=file))


def delete(group: str, seq: int, *, for_all: bool) -> chat_pb2.DeleteMessageRequest:
    return chat_pb2.DeleteMessageRequest(request_id=new_id(), conversation_id=group, target_seq=seq, for_all=for_all)


def edit(group: str, seq: int, content: entry_pb2.Content) -> chat_pb2.EditMessageRequest:
    return chat_pb2.EditMessageRequest(request_id=new_id(), conversation_id=group, target_seq=seq, content=content)


def group_picture(group: str, file: str) -> conversation_pb2.UpdateConversationRequest:
    return conversation_pb2.UpdateConversationRequest(request_id=new_id(), conversation_id=group, picture_media_id=file)


def profile_picture(file: str) -> Message:
    return account_pb2.UpdateProfileRequest(picture_media_id=file)


async def test_members_see_a_file_of_a_message_and_nobody_else(scenario: Scenario) -> None:
    assert await scenario.viewers() == {"alice", "bob"}
    assert await scenario.is_referenced()
    assert await scenario.viewers(new_file()) == set()
    assert not await scenario.is_referenced(new_file())


async def test_references_are_listed_in_the_order_of_the_request(scenario: Scenario) -> None:
    files = [new_file() for _ in range(1000)]
    for number in (700, 3, 999):
        await scenario.alice.sent(scenario.group, media(files[number]))
    await scenario.bob.call(profile_picture(files[500]))
    await scenario.alice.call(group_picture(scenario.group, files[501]))
    referenced = await Directory(scenario.world).referenced(*files)
    assert referenced == [files[number] for number in (3, 500, 501, 700, 999)]


async def test_deletion_for_all_ends_access_and_reference(scenario: Scenario) -> None:
    await scenario.alice.call(delete(scenario.group, scenario.seq, for_all=True))
    assert await scenario.viewers() == set()
    assert not await scenario.is_referenced()


async def test_edit_replaces_the_file(scenario: Scenario) -> None:
    second = new_file()
    await scenario.alice.call(edit(scenario.group, scenario.seq, media(second)))
    assert (await scenario.viewers(), await scenario.viewers(second)) == (set(), {"alice", "bob"})
    assert (await scenario.is_referenced(), await scenario.is_referenced(second)) == (False, True)
    await scenario.alice.call(edit(scenario.group, scenario.seq, media(scenario.file)))
    assert (await scenario.viewers(), await scenario.viewers(second)) == ({"alice", "bob"}, set())
    assert not await scenario.is_referenced(second)


async def test_message_deleted_for_one_user_stays_for_the_others(scenario: Scenario) -> None:
    await scenario.bob.call(delete(scenario.group, scenario.seq, for_all=False))
    assert await scenario.viewers() == {"alice"}
    await scenario.alice.call(delete(scenario.group, scenario.seq, for_all=False))
    assert await scenario.viewers() == set()
    assert await scenario.is_referenced(), "a member who is added may not see it, but the message stands"


async def test_file_is_seen_while_any_message_shows_it(scenario: Scenario) -> None:
    both = await scenario.bob.direct(scenario.carol)
    forwarded = await scenario.bob.sent(both, media(scenario.file))
    again = await scenario.bob.sent(scenario.group, media(scenario.file))
    assert await scenario.viewers() == {"alice", "bob", "carol"}
    await scenario.alice.call(delete(scenario.group, scenario.seq, for_all=True))
    assert await scenario.viewers() == {"alice", "bob", "carol"}
    await scenario.bob.call(delete(scenario.group, again, for_all=True))
    assert await scenario.viewers() == {"bob", "carol"}
    await scenario.bob.call(delete(both, forwarded, for_all=True))
    assert await scenario.viewers() == set()
    assert not await scenario.is_referenced()


async def test_membership_limits_access_to_its_interval(scenario: Scenario) -> None:
    await scenario.alice.call(add(scenario.group, scenario.carol))
    assert await scenario.viewers() == {"alice", "bob"}, "carol was not there yet"
    await scenario.alice.call(remove(scenario.group, scenario.bob))
    assert await scenario.viewers() == {"alice", "bob"}, "bob keeps what he saw"
    later = new_file()
    seq = await scenario.alice.sent(scenario.group, media(later))
    assert await scenario.viewers(later) == {"alice", "carol"}
    await scenario.alice.call(add(scenario.group, scenario.bob))
    assert await scenario.viewers(later) == {"alice", "carol"}
    # Bob was away when the message came, and an edit that he could see does not show it.
    newest = new_file()
    await scenario.alice.call(edit(scenario.group, seq, media(newest)))
    assert await scenario.viewers(newest) == {"alice", "carol"}
    await scenario.alice.call(remove(scenario.group, scenario.bob))
    unseen = new_file()
    await scenario.alice.call(edit(scenario.group, scenario.seq, media(unseen)))
    assert await scenario.viewers(unseen) == {"alice"}, "bob has left, and carol was not there"
    assert await scenario.viewers() == set()


async def test_everybody_sees_a_profile_picture_until_it_changes(scenario: Scenario) -> None:
    first, second = new_file(), new_file()
    await scenario.alice.call(profile_picture(first))
    await scenario.alice.call(account_pb2.BlockUserRequest(user_id=scenario.carol.user_id))
    assert await scenario.viewers(first) == {"alice", "bob", "carol"}, "as with GetProfile"
    await scenario.alice.call(profile_picture(second))
    assert (await scenario.viewers(first), await scenario.is_referenced(first)) == (set(), False)
    assert await scenario.viewers(second) == {"alice", "bob", "carol"}
    await scenario.alice.call(profile_picture(""))
    assert (await scenario.viewers(second), await scenario.is_referenced(second)) == (set(), False)


async def test_group_picture_is_seen_as_the_group_is(scenario: Scenario) -> None:
    first, second = new_file(), new_file()
    await scenario.alice.call(group_picture(scenario.group, first))
    assert await scenario.viewers(first) == {"alice", "bob"}
    await scenario.alice.call(remove(scenario.group, scenario.bob))
    await scenario.alice.call(add(scenario.group, scenario.carol))
    await scenario.alice.call(group_picture(scenario.group, second))
    assert await scenario.viewers(first) == {"bob"}, "whom the group is shown as he left it"
    assert await scenario.is_referenced(first)
    assert await scenario.viewers(second) == {"alice", "carol"}
    await scenario.alice.call(group_picture(scenario.group, ""))
    assert await scenario.viewers(second) == set()


async def test_deleted_account_sees_nothing_and_its_picture_is_gone(world: World) -> None:
    alice, bob, carol = await world.register("alice"), *await world.users("bob", "carol")
    await bob.connect()
    group, file, picture = await bob.group("Pictures", [alice]), new_file(), new_file()
    scenario = Scenario(world, alice, bob, carol, group, file, await bob.sent(group, media(file)))
    await alice.call(profile_picture(picture))
    assert await scenario.viewers() == {"alice", "bob"}
    assert await scenario.viewers(picture) == {"alice", "bob", "carol"}
    await alice.call(account_pb2.DeleteAccountRequest(password=PASSWORD))

    async def only_bob_sees_the_file() -> bool:
        return await scenario.viewers() == {"bob"}

    # The groups of a deleted user are left by a job.
    await eventually(only_bob_sees_the_file)
    assert (await scenario.viewers(picture), await scenario.is_referenced(picture)) == (set(), False)
    assert await Directory(world).active_devices(alice, alice) == []
    assert await Directory(world).members(group) == [bob.user_id]

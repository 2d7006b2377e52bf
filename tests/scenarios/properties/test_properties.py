"""Random operations of several users and devices are compared with a small model of the promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from devstack.services import CHAT
from devstack.stack import Stack
from parley.chat.v1 import chat_pb2, conversation_pb2, entry_pb2
from tests.eventually import eventually
from tests.loop import Loop
from tests.raw.device import RawDevice, new_id, text
from tests.raw.refusal import of_error
from tests.raw.world import World
from tests.scans import no_scans
from tests.scenarios.properties.model import FIRST, Model, Refused, Role

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(400)]

RUNS, STEPS = 210, 50
"""More than 10,000 steps in all, the first of a run not counted."""
PEOPLE = ("alice", "bob", "carol", "dave")
people = st.sampled_from(PEOPLE)
# Often something that is there, now and then what is no message or not there yet.
places = st.integers(min_value=1, max_value=40)
numbers = st.integers(min_value=0, max_value=len(PEOPLE) + 1)


@pytest.fixture(scope="module")
def quick_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system with rate limits high enough for one busy device."""
    plenty = {f"PARLEY_{name}": "1000000" for name in ("SENDS_PER_SECOND", "SENDS_BURST", "ENTRIES_PER_SECOND")}
    plenty["PARLEY_ENTRIES_BURST"] = "1000000"
    folder = tmp_path_factory.mktemp("quick")
    with Stack(folder, chat_servers=2, services=(CHAT,), environment=plenty) as stack, no_scans(stack.mongo_uri):
        yield stack


@pytest.fixture(scope="module")
def world(quick_stack: Stack, loop: Loop) -> Iterator[World]:
    async def enter() -> World:
        return await World(quick_stack).__aenter__()

    world = loop.run(enter())
    yield world
    loop.run(world.__aexit__())


class Group(RuleBasedStateMachine):
    """Four users, alice and bob with two devices each, who join and leave one group and reconnect their streams."""

    world: World
    loop: Loop
    steps = 0

    @initialize()
    def begin(self) -> None:
        self.loop.run(self._begin())

    async def _begin(self) -> None:
        devices = await self.world.users(*PEOPLE)
        self.phones = dict(zip(PEOPLE, devices, strict=True))
        self.devices = [*devices, await self.world.add_device(devices[0]), await self.world.add_device(devices[1])]
        self.away: set[int] = set()
        for device in self.devices:
            await device.connect()
        self.group = await devices[0].group("Weather", [devices[1]])
        self.model = Model({self.id("alice"): Role.ADMIN, self.id("bob"): Role.MEMBER})

    def id(self, name: str) -> str:
        return self.phones[name].user_id

    def appends(self, who: str, expected: Callable[[], int], request: Any) -> None:
        """Check that the response has the model's seq or its refusal reason."""
        assert self._answer(who, request, lambda answer: int(answer.appended.seq)) == _told(expected)

    def changes(self, who: str, expected: Callable[[], int], request: Any) -> None:
        """Check that the request is refused exactly if the model refuses it, for the same reason."""
        wanted = _told(expected)
        assert self._answer(who, request, lambda _: "") == (wanted if isinstance(wanted, str) else "")

    def _answer(self, who: str, request: Any, told: Callable[[Any], int | str]) -> int | str:
        type(self).steps += 1
        try:
            return told(self.loop.run(self.phones[who].call(request)))
        except grpc.aio.AioRpcError as error:
            return of_error(error).reason

    @rule(who=people)
    def send(self, who: str) -> None:
        body = f"said at {self.model.head}"
        request = chat_pb2.SendMessageRequest(
            client_message_id=new_id(), conversation_id=self.group, content=text(body)
        )
        self.appends(who, lambda: self.model.send(self.id(who), body), request)

    @rule(who=people, seq=places)
    def edit(self, who: str, seq: int) -> None:
        body = f"edited at {self.model.head}"
        request = chat_pb2.EditMessageRequest(
            request_id=new_id(), conversation_id=self.group, target_seq=seq, content=text(body)
        )
        self.appends(who, lambda: self.model.edit(self.id(who), seq, body), request)

    @rule(who=people, seq=places, for_all=st.booleans())
    def delete(self, who: str, seq: int, for_all: bool) -> None:
        request = chat_pb2.DeleteMessageRequest(
            request_id=new_id(), conversation_id=self.group, target_seq=seq, for_all=for_all
        )
        work = self.model.delete if for_all else self.model.hide
        self.appends(who, lambda: work(self.id(who), seq), request)

    @rule(who=people, seq=places, emoji=st.sampled_from(["👍", "🎉", ""]))
    def react(self, who: str, seq: int, emoji: str) -> None:
        request = chat_pb2.SetReactionRequest(
            request_id=new_id(), conversation_id=self.group, target_seq=seq, emoji=emoji
        )
        self.appends(who, lambda: self.model.react(self.id(who), seq, emoji), request)

    @rule(who=people, other=people)
    def add(self, who: str, other: str) -> None:
        request = conversation_pb2.AddMembersRequest(
            request_id=new_id(), conversation_id=self.group, member_ids=[self.id(other)]
        )
        self.changes(who, lambda: self.model.add(self.id(who), self.id(other)), request)

    @rule(who=people, other=people)
    def remove(self, who: str, other: str) -> None:
        request = conversation_pb2.RemoveMemberRequest(
            request_id=new_id(), conversation_id=self.group, user_id=self.id(other)
        )
        self.changes(who, lambda: self.model.remove(self.id(who), self.id(other)), request)

    @rule(who=people)
    def leave(self, who: str) -> None:
        request = conversation_pb2.LeaveGroupRequest(request_id=new_id(), conversation_id=self.group)
        self.changes(who, lambda: self.model.leave(self.id(who)), request)

    @rule(who=people, other=people, role=st.sampled_from(Role))
    def set_role(self, who: str, other: str, role: Role) -> None:
        request = conversation_pb2.SetRoleRequest(
            request_id=new_id(),
            conversation_id=self.group,
            user_id=self.id(other),
            role=entry_pb2.Role.ValueType(role.value),
        )
        self.changes(who, lambda: self.model.set_role(self.id(who), self.id(other), role), request)

    @rule(who=people, admins_only=st.booleans())
    def update(self, who: str, admins_only: bool) -> None:
        title = f"named at {self.model.head}"
        request = conversation_pb2.UpdateConversationRequest(
            request_id=new_id(), conversation_id=self.group, title=title, admins_only_send=admins_only
        )
        self.changes(who, lambda: self.model.update(self.id(who), title, admins_only), request)

    @rule(number=numbers, seq=places)
    def read(self, number: int, seq: int) -> None:
        type(self).steps += 1
        if number not in self.away:
            device = self.devices[number]
            self.loop.run(self._read(device, seq))
            self.model.receive(device.user_id, seq)

    async def _read(self, device: RawDevice, seq: int) -> None:
        """Send a receipt; one above the head is waited for, because it counts as the head of the moment it arrives."""
        if seq <= self.model.head:
            await device.receipt(self.group, read=seq)
            return
        receipt = chat_pb2.Receipt(conversation_id=self.group, read_seq=seq)
        request = chat_pb2.UpdateReceiptsRequest(receipts=[receipt])
        if device.user_id in self.model.roles:
            await device.call(request)
        else:
            assert (await device.refusal(request)).reason == "CONVERSATION_NOT_FOUND"

    @rule(number=numbers)
    def go_away(self, number: int) -> None:
        type(self).steps += 1
        self.away.add(number)
        self.loop.run(self.devices[number].close())

    @rule(number=numbers)
    def come_back(self, number: int) -> None:
        type(self).steps += 1
        if number in self.away:
            self.away.discard(number)
            self.loop.run(self._come_back(self.devices[number]))

    async def _come_back(self, device: RawDevice) -> None:
        """Reconnect with the cursor; the group is listed if it changed, and fetched after the last known seq."""
        log = device.logs[self.group]
        # Before anything comes live, which may be later than what is missing.
        last = max(log, default=0)
        await device.open(device.cursor)
        named, _ = await device.changes()
        assert self.group in named or not set(self.model.visible(device.user_id)) - log.keys()
        if self.group in named:
            await self._fetch(device, last)

    @rule(number=numbers)
    def look(self, number: int) -> None:
        type(self).steps += 1
        if number not in self.away:
            self.loop.run(self._look(self.devices[number]))

    def teardown(self) -> None:
        if hasattr(self, "model"):
            for number in range(len(self.devices)):
                self.come_back(number)
                self.loop.run(self._look(self.devices[number]))
                self.loop.run(self.devices[number].close())
            del self.world.devices[:]

    async def _look(self, device: RawDevice) -> None:
        """Check that received and fetchable entries of a device equal the model's."""
        user, seen = device.user_id, self.model.visible(device.user_id)
        await eventually(lambda: self._has_all(device, seen))
        if not seen:
            assert (await device.fetch(self.group)).ranges[0].HasField("status")
            return
        await eventually(lambda: self._agrees(device, seen))
        shown = conversation_pb2.GetConversationRequest(conversation_id=self.group)
        conversation = (await device.call(shown)).conversation
        roles = {each.user_id: Role(each.role) for each in conversation.members}
        assert roles == (self.model.roles if user in self.model.roles else {})
        assert conversation.head_seq == seen[-1]

    def _has_all(self, device: RawDevice, seen: list[int]) -> bool:
        changes = self.model.changes_outside(device.user_id)
        # A device that fetched before such a change learns it by a later fetch only.
        held = sorted(device.logs[self.group].keys() - changes)
        assert held == seen, f"device {self.devices.index(device)} lacks or has too much: {held}, not {seen}"
        return True

    async def _agrees(self, device: RawDevice, seen: list[int]) -> bool:
        """Compare with the model; receipts are not answered, so the unread count converges a little later."""
        user = device.user_id
        entries, result = await self._fetch(device, 0)
        assert list(entries) == sorted([*seen, *self.model.changes_outside(user)])
        for seq, entry in entries.items():
            assert self._is(entry, seq, user)
        assert set(result.hidden_seqs) == self.model.hidden.get(user, set())
        assert result.head_seq == seen[-1]
        return result.unread_count == (self.model.unread(user) if user in self.model.roles else 0)

    async def _fetch(self, device: RawDevice, after: int) -> tuple[dict[int, entry_pb2.Entry], chat_pb2.RangeResult]:
        entries = dict[int, entry_pb2.Entry]()
        while True:
            fetched = await device.fetch(self.group, after, limit=7)
            entries |= {entry.seq: entry for entry in fetched.entries}
            [result] = fetched.ranges
            if result.complete or result.HasField("status"):
                return entries, result
            after = fetched.seqs[-1]

    def _is(self, entry: entry_pb2.Entry, seq: int, viewer: str) -> bool:
        said = self.model.messages.get(seq)
        if said is None:
            return not entry.HasField("message_appended") and (seq < FIRST or entry.actor_id == self.model.actors[seq])
        message = entry.message_appended
        state = (entry.actor_id, message.edit_seq, message.delete_seq)
        reactions = {each.user_id: each.emoji for each in message.reactions}
        shown = message.content.text.body, reactions
        return (state, shown) == ((said.author, said.edit_seq, said.delete_seq), self.model.shown(viewer, seq))


def _told(expected: Callable[[], int]) -> int | str:
    try:
        return expected()
    except Refused as refusal:
        return str(refusal)


def test_random_group_operations_match_the_model(world: World, loop: Loop) -> None:
    Group.world, Group.loop = world, loop
    how = settings(
        max_examples=RUNS,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # What fails is told as it was found: to make it smaller would take minutes of waiting.
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    )
    run_state_machine_as_test(Group, settings=how)
    assert Group.steps >= 10_000

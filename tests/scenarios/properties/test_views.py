"""Connected, resumed and fresh devices of every user show random histories as a model does."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

import pytest

from devstack.services import CHAT
from devstack.stack import Stack
from parley.chat.v1 import entry_pb2
from parley_client import ConversationView, DeliveryStatus, contents
from tests.eventually import eventually
from tests.raw.world import World
from tests.scans import no_scans
from tests.scenarios.properties.model import DirectModel, Model, Refused, Role
from tests.scenarios.properties.viewers import Shown, Viewer, shown_messages

STEPS: Final = int(os.environ.get("PARLEY_VIEW_STEPS", "2000"))
SEED: Final = int(os.environ.get("PARLEY_VIEW_SEED", "1"))
RUN_STEPS: Final = 125
STEPS_PER_CHECK: Final = 25
USERS: Final = 4
SETTLED_S: Final = 20.0
FOREVER = entry_pb2.Retention(forever=entry_pb2.Retention.Forever())
RELAY_ONLY = entry_pb2.Retention(relay_only=entry_pb2.Retention.RelayOnly())

pytestmark = [pytest.mark.scenario, pytest.mark.e2e, pytest.mark.timeout(60 + STEPS)]


@pytest.fixture(scope="module")
def busy_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A system with rate limits high enough for busy devices, which keeps content for three seconds by default."""
    limits = ("SENDS_PER_SECOND", "SENDS_BURST", "ENTRIES_PER_SECOND", "ENTRIES_BURST")
    environment = {f"PARLEY_{name}": "1000000" for name in limits}
    environment |= {"PARLEY_RETENTION": "3s", "PARLEY_RETENTION_PAUSE_SECONDS": "0.2"}
    folder = tmp_path_factory.mktemp("busy")
    with Stack(folder, chat_servers=2, services=(CHAT,), environment=environment) as stack, no_scans(stack.mongo_uri):
        yield stack


@pytest.fixture
async def busy_world(busy_stack: Stack) -> AsyncIterator[World]:
    async with World(busy_stack, token_seconds=3600.0) as world:
        yield world


class History:
    """Four users in a group, the first two of whom also have a 1-1 conversation, and the operations they perform."""

    def __init__(self, world: World, seed: int) -> None:
        self.random = random.Random(seed)
        self._world = world
        self.viewers: list[Viewer] = []
        self.log: list[str] = []
        # Set once retention has removed the contents of the group: because of their age, or because all have them.
        self._expired = self._relayed = False

    async def open(self) -> None:
        """Create the users and both conversations."""
        phones = await self._world.users(*(f"user{number}" for number in range(USERS)))
        tablets = [await self._world.add_device(each) for each in phones]
        door = self._world.stack.door
        self.viewers = [Viewer(phone, tablet, door) for phone, tablet in zip(phones, tablets, strict=True)]
        for viewer in self.viewers:
            await viewer.open()
        first, second = self.viewers[:2]
        conversations = first.live.client.conversations
        self.group = (await conversations.create_group("Weather", [second.user_id])).conversation_id
        await conversations.set_retention(self.group, FOREVER)
        self.model = Model({first.user_id: Role.ADMIN, second.user_id: Role.MEMBER}, head=3)
        self.model.actors[3] = first.user_id
        self.direct = (await conversations.get_or_create_direct(second.user_id)).conversation_id
        await conversations.set_retention(self.direct, FOREVER)
        self.direct_model = DirectModel((first.user_id, second.user_id), head=2)

    async def close(self) -> None:
        for viewer in self.viewers:
            await viewer.close()

    async def step(self) -> None:
        """Perform one random operation; one that the model refuses is left out."""
        operations = [
            (10, self.send), (6, self.send_direct), (4, self.edit), (3, self.delete), (4, self.react), (1, self.hide),
            (5, self.add), (4, self.remove), (2, self.leave), (1, self.rename), (8, self.read), (4, self.read_direct),
            (3, self.reconnect), (1, self.block), (2, self.unblock),
        ]  # fmt: skip
        weights, choices = zip(*operations, strict=True)
        operation = self.random.choices(choices, weights)[0]
        with suppress(Refused):
            await operation()
            self.log.append(operation.__name__)

    def _someone(self) -> Viewer:
        return self.random.choice(self.viewers)

    def _message(self) -> int:
        return self.random.choice(list(self.model.messages) or [0])

    async def send(self) -> None:
        who, body = self._someone(), f"said at {self.model.head}"
        mentioned = self.random.choice([None, *self.model.roles])
        seq = self.model.send(who.user_id, body, mentioned)
        content = contents.text(body, {"said": mentioned} if mentioned else None)
        assert (await who.live.client.messages.send(self.group, content)).seq == seq

    async def send_direct(self) -> None:
        who, body = self.random.choice(self.viewers[:2]), f"said at {self.direct_model.head}"
        seq = self.direct_model.send(who.user_id, body)
        assert (await who.live.client.messages.send(self.direct, body)).seq == seq

    async def edit(self) -> None:
        who, target, body = self._someone(), self._message(), f"edited at {self.model.head}"
        seq = self.model.edit(who.user_id, target, body)
        assert (await who.live.client.messages.edit(self.group, target, body)).seq == seq

    async def delete(self) -> None:
        who, target = self._someone(), self._message()
        seq = self.model.delete(who.user_id, target)
        deleted = await who.live.client.messages.delete(self.group, target, for_all=True)
        assert deleted is not None
        assert deleted.seq == seq

    async def hide(self) -> None:
        who, target = self._someone(), self._message()
        self.model.hide(who.user_id, target)
        await who.live.client.messages.delete(self.group, target, for_all=False)

    async def react(self) -> None:
        who, target, emoji = self._someone(), self._message(), self.random.choice(["👍", "🎉", ""])
        seq = self.model.react(who.user_id, target, emoji)
        assert (await who.live.client.messages.set_reaction(self.group, target, emoji)).seq == seq

    async def add(self) -> None:
        who, other = self._someone(), self._someone()
        # A user who blocked another may not be added by them.
        blocked = self.direct_model.blocks and {who, other} == set(self.viewers[:2])
        if not blocked and self.model.add(who.user_id, other.user_id):
            await who.live.client.conversations.add_members(self.group, [other.user_id])

    async def remove(self) -> None:
        who, other = self._someone(), self._someone()
        if len(self.model.roles) > 1:
            self.model.remove(who.user_id, other.user_id)
            await who.live.client.conversations.remove_member(self.group, other.user_id)

    async def leave(self) -> None:
        who = self._someone()
        if len(self.model.roles) > 1:
            self.model.leave(who.user_id)
            await who.live.client.conversations.leave(self.group)

    async def rename(self) -> None:
        who, title = self._someone(), f"named at {self.model.head}"
        self.model.update(who.user_id, title, admins_only=False)
        await who.live.client.conversations.update(self.group, title=title)

    async def read(self) -> None:
        who = self._someone()
        seen = self.model.visible(who.user_id)
        if who.user_id in self.model.roles and seen:
            seq = self.random.choice(seen)
            self.model.receive(who.user_id, seq)
            await self._read(who, self.group, seq)

    async def read_direct(self) -> None:
        who, seq = self.random.choice(self.viewers[:2]), self.random.randint(1, self.direct_model.head)
        self.direct_model.receive(who.user_id, seq)
        await self._read(who, self.direct, seq)

    async def _read(self, who: Viewer, conversation: str, seq: int) -> None:
        device = who.resuming if who.resuming.connected and self.random.random() < 0.3 else who.live
        device.device.mark_read(conversation, seq)

        async def is_stored() -> bool:
            return (await who.live.client.conversations.get(conversation)).read_seq >= seq

        await eventually(is_stored, SETTLED_S)

    async def reconnect(self) -> None:
        device = self._someone().resuming
        await (device.disconnect() if device.connected else device.connect())

    async def block(self) -> None:
        blocker, other = self.random.sample(self.viewers[:2], 2)
        for viewer in (blocker, other):
            # A receipt that comes after the block is hidden.
            await eventually(lambda viewer=viewer: self._has_delivered(viewer), SETTLED_S)  # type: ignore[misc]
        self.direct_model.blocks.add(blocker.user_id)
        await blocker.live.client.accounts.block(other.user_id)

    async def _has_delivered(self, viewer: Viewer) -> bool:
        last = max(self.direct_model.messages, default=0)
        return (await viewer.live.client.conversations.get(self.direct)).delivered_seq >= last

    async def unblock(self) -> None:
        blocker, other = self.random.sample(self.viewers[:2], 2)
        self.direct_model.blocks.discard(blocker.user_id)
        await blocker.live.client.accounts.unblock(other.user_id)

    async def end(self) -> None:
        """Remove the contents of the group by one of the kinds of retention, or by none, and check once more."""
        admin = next(each for each in self.viewers if self.model.roles.get(each.user_id) is Role.ADMIN)
        how = self.random.choice([None, "expired", "relayed"])
        if how is None or not self.model.messages:
            return
        self.log.append(how)
        retention = None if how == "expired" else RELAY_ONLY
        await admin.live.client.conversations.set_retention(self.group, retention)
        last = max(self.model.messages)

        async def is_removed() -> bool:
            return (await admin.live.client.conversations.get(self.group)).first_seq > last

        await eventually(is_removed, SETTLED_S)
        self._expired, self._relayed = how == "expired", how == "relayed"
        for viewer in self.viewers:
            # A connected device learns by its next fetch that content has expired.
            viewer.live.device.refresh(self.group)
            await viewer.resuming.disconnect()
        await self.check()

    async def check(self) -> None:
        """Check that all views of all users show what the model has, once everything is delivered."""
        for viewer in self.viewers:
            if not viewer.resuming.connected:
                await viewer.resuming.connect()
            await eventually(partial(self._agrees, viewer), SETTLED_S)

    async def _agrees(self, viewer: Viewer) -> bool:
        user = viewer.user_id
        for conversation, expected, unread in self._expected(user):
            views = {
                "live": viewer.live.view(conversation),
                "resumed": viewer.resuming.view(conversation),
                "fresh": await viewer.fresh_view(conversation),
            }
            stored = (await viewer.live.client.conversations.get(conversation)).unread_count
            assert stored == unread, f"{stored} unread on the server, not {unread}"
            statuses = {name: _statuses(view) for name, view in views.items()}
            assert statuses["live"] == statuses["resumed"] == statuses["fresh"], statuses
            for name, view in views.items():
                shown, wanted_messages = shown_messages(view), expected
                if name == "fresh" and self._relayed and conversation == self.group:
                    # It has no content to fetch any more, and its reactions belong to nothing.
                    shown = {seq: _without_content(each) for seq, each in shown.items()}
                    wanted_messages = {seq: _without_content(each) for seq, each in expected.items()}
                for seq in wanted_messages.keys() | shown.keys():
                    found, wanted = shown.get(seq), wanted_messages.get(seq)
                    if found is not None and wanted is not None and self._is_former_member(user, conversation):
                        found, wanted = _without_reactions_and_status(found), _without_reactions_and_status(wanted)
                    assert _agree(found, wanted), f"{name} view of {user[:4]}: {seq} is {found}, not {wanted}"
                if conversation == self.group and user in self.model.roles:
                    assert set(view.members) == set(self.model.roles), f"{name} view of {user[:4]}: {view.members}"
                assert view.unread_count == unread, f"{name} view of {user[:4]}: {view.unread_count}, not {unread}"
        return True

    def _is_former_member(self, user: str, conversation: str) -> bool:
        """Return True for a former member of the group, whose devices are told neither of reactions nor of receipts."""
        return conversation == self.group and user not in self.model.roles

    def _expected(self, user: str) -> Iterator[tuple[str, dict[int, Shown], int]]:
        if self.model.visible(user):
            shown, unread = self.model.shown_messages(user), self.model.unread(user)
            if self._expired:
                shown, unread = {seq: _without_content(each) for seq, each in shown.items()}, 0
            yield self.group, shown, unread
        if user in self.direct_model.users:
            yield self.direct, self.direct_model.shown_messages(user), self.direct_model.unread(user)


def _statuses(view: ConversationView) -> dict[int, DeliveryStatus]:
    """Return the status of each message of the user; a former member is told of no receipts."""
    own = [] if view.is_former_member else [each for each in view.messages if each.actor_id == view.user_id]
    return {each.seq: view.delivery_status(each) for each in own}


def _without_reactions_and_status(message: Shown) -> Shown:
    return replace(message, reactions=(), status=None)


def _without_content(message: Shown) -> Shown:
    return replace(message, text="", mentions=(), edited=False, reactions=())


def _agree(found: Shown | None, wanted: Shown | None) -> bool:
    """Compare; the model knows whether a message is read, and not whether it is delivered."""
    if found is None or wanted is None or wanted.status is None:
        return found == wanted
    was_read = found.status is DeliveryStatus.READ
    return was_read == (wanted.status is DeliveryStatus.READ) and replace(found, status=None) == replace(
        wanted, status=None
    )


async def test_random_histories_are_shown_the_same_on_every_device(busy_world: World) -> None:
    for number in range(-(-STEPS // RUN_STEPS)):
        seed = SEED * 1_000_000 + number
        history = History(busy_world, seed)
        await history.open()
        try:
            for step in range(1, RUN_STEPS + 1):
                await history.step()
                if step % STEPS_PER_CHECK == 0:
                    await history.check()
            await history.end()
        except AssertionError as error:
            raise AssertionError(f"with the seed {seed}, after {len(history.log)} operations: {error}") from error
        finally:
            await history.close()

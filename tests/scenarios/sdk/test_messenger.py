"""Two users with a messenger each on a running system: actions of one appear on the screen of the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from devstack.stack import Stack
from parley_client import Client, SignedOut
from tests.eventually import eventually
from tests.scenarios.sdk.terminal_screen import messenger

pytestmark = [pytest.mark.scenario, pytest.mark.e2e]


@pytest.fixture
async def people(stack: Stack) -> AsyncIterator[tuple[Client, Client]]:
    async with AsyncExitStack() as open_clients:
        alice = await open_clients.enter_async_context(Client(stack.door))
        bob = await open_clients.enter_async_context(Client(stack.door))
        suffix = alice.new_id()[-12:]
        await alice.accounts.register(f"alice-{suffix}", "correct horse", display_name="Alice")
        await bob.accounts.register(f"bob-{suffix}", "correct horse", display_name="Bob")
        yield alice, bob


def login_name(client: Client) -> str:
    assert client.session is not None
    return client.session.login_name


async def test_two_users_exchange_messages(people: tuple[Client, Client]) -> None:
    alice, bob = people
    async with messenger(alice) as hers, messenger(bob) as his:
        await hers.press("ctrl+n")
        await hers.shows("Start a conversation")
        await hers.say(login_name(bob))
        await hers.shows("Write, Enter sends")
        await hers.say("are you free on friday?")
        await hers.shows("✓✓ are you free on friday?", "✓✓ delivered")
        await his.shows("  1 Alice")
        await his.press("enter")
        await his.shows("are you free on friday?")
        await hers.shows("✓✓ read")
        await his.write("perhaps")
        await hers.shows("Bob is typing…")
        await his.press("enter")
        await hers.shows("perhaps")
        await hers.hides("typing…")
        await hers.press("up", "x", "enter")
        await his.shows("👍")
        await his.press("up", "e")
        await his.shows("Editing")
        await his.say(" at nine")
        await hers.shows("perhaps at nine (edited)")
        await hers.press("escape", "up", "up", "d", "enter")
        await his.shows("message deleted")


async def test_group_is_created_and_member_removed(people: tuple[Client, Client]) -> None:
    alice, bob = people
    async with messenger(alice) as hers, messenger(bob) as his:
        await hers.press("ctrl+g")
        await hers.shows("Create a group")
        await hers.say("Friday")
        await hers.say(login_name(bob))
        await hers.shows("Friday  2 members")
        await his.shows("Friday")
        await his.press("enter")
        await his.shows("Write, Enter sends")
        await hers.press("ctrl+o", "down", "down", "enter", "end")
        await hers.say(" night")
        await his.shows("Alice renamed the group to Friday night")
        await hers.press("ctrl+o", "enter", "down", "enter", "down", "enter")
        await hers.shows("You removed Bob")
        await his.shows("Alice removed you", "You are not a member any more")
        await hers.say("just me then")
        await hers.shows("✓  just me then")
        await his.press("up")
        assert "just me then" not in his.text
        assert "no such" not in his.text, "what it has of the end is told without a complaint"


async def test_revoked_device_ends_messenger(stack: Stack, people: tuple[Client, Client]) -> None:
    alice, _ = people
    async with messenger(alice) as hers, Client(stack.door) as phone:
        await hers.hides("connecting")
        await phone.accounts.login(login_name(alice), "correct horse")
        assert alice.session is not None
        await phone.accounts.revoke_device(alice.session.device_id)
        await eventually(lambda: isinstance(hers.app.return_value, SignedOut))

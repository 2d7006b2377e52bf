"""Privacy settings: who may add a user to groups, and whether searches find the user."""

from __future__ import annotations

import asyncio

import pytest

from chat_service.accounts.account import ProfileChange
from chat_service.accounts.accounts import Accounts
from chat_service.accounts.devices import DeviceDescription
from chat_service.accounts.privacy import Privacy, PrivacyChange, WhoMayAdd
from chat_service.errors import UserNotFound
from chat_service.model.entry import Draft, Entry, Message
from chat_service.model.ids import direct_id
from chat_service.model.requests import Creation
from chat_service.storage.log import MongoLog
from parley.chat.v1 import account_pb2
from tests.integration.accounts.environment import AccountsEnvironment

pytestmark = pytest.mark.integration


@pytest.fixture
async def users(environment: AccountsEnvironment, accounts: Accounts) -> list[str]:
    await MongoLog(environment.database).ensure_indexes()
    names = ("alice", "bob", "carol", "dave")
    return [(await accounts.register(n, "correct horse", "", DeviceDescription(), "peer")).user_id for n in names]


async def found(environment: AccountsEnvironment, text: str) -> list[str]:
    return [each.login_name for each in await environment.profiles().search_profiles(text, "", 20)]


async def append(environment: AccountsEnvironment, seq: int, draft: Draft) -> None:
    entry = Entry(draft.conversation_id, seq, seq, 0, draft.actor_id, draft.request_id, draft.change, bytes(16))
    assert await MongoLog(environment.database).append_batch([entry]) is None


async def talk(environment: AccountsEnvironment, beginner: str, other: str, answers: bool = False) -> None:
    """Append a direct conversation that `beginner` opens and, if `answers`, `other` replies to."""
    conversation = direct_id(beginner, other)
    [created] = Creation(conversation, beginner, bytes.fromhex(conversation), (beginner, other), "").drafts()
    await append(environment, 1, created)
    await append(environment, 2, Draft(conversation, beginner, bytes(16), Message(b""), 0))
    if answers:
        await append(environment, 3, Draft(conversation, other, bytes(16), Message(b""), 0))


async def test_privacy_is_public_by_default(environment: AccountsEnvironment, users: list[str]) -> None:
    profiles, (alice, *_) = environment.profiles(), users
    assert await profiles.get_privacy(alice) == Privacy(WhoMayAdd.EVERYONE, found_by_search=True)
    assert await profiles.update_privacy(alice, PrivacyChange(who_may_add=WhoMayAdd.NOBODY)) == Privacy(
        WhoMayAdd.NOBODY
    )
    hidden = await profiles.update_privacy(alice, PrivacyChange(found_by_search=False))
    assert hidden == await profiles.get_privacy(alice) == Privacy(WhoMayAdd.NOBODY, found_by_search=False)
    assert await profiles.update_privacy(alice, PrivacyChange()) == hidden
    with pytest.raises(UserNotFound):
        await profiles.update_privacy("f" * 32, PrivacyChange(found_by_search=False))


async def test_hidden_user_is_found_by_exact_login_name(environment: AccountsEnvironment, users: list[str]) -> None:
    profiles, (alice, *_) = environment.profiles(), users
    await profiles.update_profile(alice, ProfileChange(display_name="Miss Smith"))
    await profiles.update_privacy(alice, PrivacyChange(found_by_search=False))
    assert (await found(environment, "ali"), await found(environment, "smith"), await found(environment, "ALICE")) == (
        [],
        [],
        ["alice"],
    )
    await profiles.update_profile(alice, ProfileChange(display_name="Mrs Smith"))
    assert (await found(environment, "mrs"), await found(environment, "alice")) == ([], ["alice"])
    await profiles.update_privacy(alice, PrivacyChange(found_by_search=True))
    assert (await found(environment, "mrs"), await found(environment, "ali")) == (["alice"], ["alice"])


async def test_concurrent_hide_and_rename_keeps_user_hidden(environment: AccountsEnvironment, users: list[str]) -> None:
    profiles, (alice, *_) = environment.profiles(), users
    for number in range(5):
        await profiles.update_privacy(alice, PrivacyChange(found_by_search=True))
        await asyncio.gather(
            profiles.update_profile(alice, ProfileChange(display_name=f"Name {number}")),
            profiles.update_privacy(alice, PrivacyChange(found_by_search=False)),
        )
        assert await found(environment, f"name {number}") == []
        assert (await profiles.get_profile(alice)).display_name == f"Name {number}"


async def test_adding_rules_and_blocks_refuse_additions(environment: AccountsEnvironment, users: list[str]) -> None:
    profiles, (alice, bob, carol, dave) = environment.profiles(), users
    refusing = environment.consent().find_refusing
    assert await refusing(alice, users) == set()
    await profiles.update_privacy(bob, PrivacyChange(who_may_add=WhoMayAdd.NOBODY))
    await profiles.update_privacy(carol, PrivacyChange(who_may_add=WhoMayAdd.CONTACTS))
    await environment.blocking().block(dave, alice)
    assert await refusing(alice, users) == {bob, carol, dave}
    assert await refusing(dave, [alice, bob, carol]) == {bob, carol}, (
        "a block does not refuse additions by the blocking user"
    )
    assert await refusing(alice, [carol, "f" * 32]) == {carol}


async def test_contacts_are_users_written_to(environment: AccountsEnvironment, users: list[str]) -> None:
    alice, bob, carol, dave = users
    for user in (alice, bob, carol, dave):
        await environment.profiles().update_privacy(user, PrivacyChange(who_may_add=WhoMayAdd.CONTACTS))
    await talk(environment, alice, bob)
    await talk(environment, carol, alice, answers=True)
    refusing = environment.consent().find_refusing
    assert await refusing(alice, [bob, carol, dave]) == {bob, dave}, (
        "a received message does not make its sender a contact"
    )
    assert await refusing(bob, [alice]) == set()
    assert await refusing(carol, [alice]) == set()


def test_adding_rules_are_numbered_as_in_the_contract() -> None:
    contract = {name.removeprefix("WHO_MAY_ADD_"): number for name, number in account_pb2.WhoMayAdd.items() if number}
    assert contract == {each.name: each.value for each in WhoMayAdd}

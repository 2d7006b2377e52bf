"""Users block each other, and the conversation's owner is notified."""

from __future__ import annotations

import pytest

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.devices import DeviceDescription
from chat_service.errors import OwnerUnavailable, UserNotFound
from servicekit.errors import Invalid
from tests.integration.accounts.environment import AccountsEnvironment

pytestmark = pytest.mark.integration


@pytest.fixture
async def users(environment: AccountsEnvironment, accounts: Accounts) -> list[str]:
    names = ("alice", "bob", "carol")
    return [(await accounts.register(n, "correct horse", "", DeviceDescription(), "peer")).user_id for n in names]


async def test_block_is_stored_and_removed(environment: AccountsEnvironment, users: list[str]) -> None:
    alice, bob, carol = users
    blocking = environment.blocking()
    for other in (bob, carol, bob):
        await blocking.block(alice, other)
    assert await blocking.list_blocked(alice, "", 0) == sorted([bob, carol])
    assert await blocking.list_blocked(bob, "", 0) == []
    await blocking.unblock(alice, bob)
    await blocking.unblock(alice, bob)
    assert await blocking.list_blocked(alice, "", 0) == [carol]
    assert environment.notified_pairs == [(alice, bob), (alice, carol), (alice, bob), (alice, bob), (alice, bob)]


async def test_unreachable_owner_is_notified_on_retry(environment: AccountsEnvironment, users: list[str]) -> None:
    alice, bob, _ = users
    environment.owner_unavailable = True
    with pytest.raises(OwnerUnavailable) as caught:
        await environment.blocking().block(alice, bob)
    assert caught.value.retry_after
    environment.owner_unavailable = False
    await environment.blocking().block(alice, bob)
    assert await environment.blocking().list_blocked(alice, "", 0) == [bob]
    assert environment.notified_pairs == [(alice, bob)]


async def test_self_and_unknown_user_cannot_be_blocked(environment: AccountsEnvironment, users: list[str]) -> None:
    alice, *_ = users
    with pytest.raises(Invalid) as caught:
        await environment.blocking().block(alice, alice)
    assert [each.field for each in caught.value.violations] == ["user_id"]
    with pytest.raises(UserNotFound):
        await environment.blocking().block(alice, "f" * 32)
    await environment.blocking().unblock(alice, "f" * 32)
    assert await environment.blocking().list_blocked(alice, "", 0) == []


async def test_blocked_users_are_listed_in_pages(environment: AccountsEnvironment, users: list[str]) -> None:
    alice, *others = users
    for other in others:
        await environment.blocking().block(alice, other)
    first, second = sorted(others)
    assert await environment.blocking().list_blocked(alice, "", 1) == [first]
    assert await environment.blocking().list_blocked(alice, first, 5) == [second]
    assert await environment.blocking().list_blocked(alice, second, 5) == []

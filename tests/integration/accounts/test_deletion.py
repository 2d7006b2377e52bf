"""An account deletion takes effect at once and is completed after any interruption."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chat_service.accounts.account import Profile, ProfileChange
from chat_service.accounts.accounts import Accounts, AccountSettings
from chat_service.accounts.deletion import PURGE_DELAY_S
from chat_service.accounts.devices import DeviceDescription
from chat_service.accounts.errors import CredentialsInvalid, DeviceRevoked, LoginNameTaken, RefreshTokenInvalid
from chat_service.accounts.sign_in_sessions import SignInSession
from chat_service.errors import UserNotFound
from servicekit.auth import Claims
from tests.eventually import eventually, run_ready
from tests.integration.accounts.environment import AccountsEnvironment

pytestmark = pytest.mark.integration

PASSWORD = "correct horse"


@pytest.fixture
async def alice(environment: AccountsEnvironment, accounts: Accounts) -> SignInSession:
    return await accounts.register("alice", PASSWORD, "", DeviceDescription(), "peer")


@pytest.fixture
def caller(environment: AccountsEnvironment, alice: SignInSession) -> Claims:
    return environment.claims(alice)


async def login(accounts: Accounts) -> SignInSession:
    return await accounts.login("alice", PASSWORD, DeviceDescription(), "peer")


async def assert_purged(environment: AccountsEnvironment, accounts: Accounts) -> None:
    """Resume deletions after the margin; assert that only the tombstone of the user is left."""
    environment.clock.advance(PURGE_DELAY_S)
    await accounts.deletion.resume_deletions()
    assert await accounts.deletion._store.list_deleting(10) == []
    [user] = await environment.database["users"].find().to_list()
    assert user.keys() == {"_id", "gone"}
    assert await environment.database["devices"].count_documents({}) == 0


async def test_deleted_user_is_hidden_and_signed_out_at_once(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    other = await login(accounts)
    await accounts.delete_account(caller, PASSWORD)
    assert {device for _, device, _ in environment.signed_out} == {caller.device_id, other.device_id}
    assert environment.left_groups == []
    for device in (caller, environment.claims(other)):
        with pytest.raises(DeviceRevoked):
            await accounts.admit(device)
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(other.refresh_token)
    with pytest.raises(CredentialsInvalid):
        await login(accounts)
    profiles = environment.profiles()
    assert await profiles.filter_existing([caller.user_id]) == set()
    assert await profiles.search_profiles("alice", "", 20) == []
    assert await profiles.get_profile(caller.user_id) == Profile(caller.user_id, "", "", deleted=True)
    with pytest.raises(UserNotFound):
        await profiles.update_profile(caller.user_id, ProfileChange(about="still here"))
    await assert_purged(environment, accounts)
    assert await profiles.get_profile(caller.user_id) == Profile(caller.user_id, "", "", deleted=True)
    with pytest.raises(CredentialsInvalid):
        await login(accounts)


async def test_deletion_needs_password_and_signed_in_device(accounts: Accounts, caller: Claims) -> None:
    with pytest.raises(CredentialsInvalid):
        await accounts.delete_account(caller, "a guess")
    await accounts.admit(caller)
    with pytest.raises(DeviceRevoked):
        await accounts.delete_account(replace(caller, device_id="f" * 32), PASSWORD)


async def test_deletion_can_be_repeated_after_purge(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    for _ in range(2):
        await accounts.delete_account(caller, PASSWORD)
    await assert_purged(environment, accounts)
    await accounts.delete_account(caller, PASSWORD)


async def test_interrupted_deletion_is_resumed_by_another_server(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    environment.owner_unavailable = True
    await accounts.delete_account(caller, PASSWORD)
    with pytest.raises(DeviceRevoked):
        await accounts.admit(caller)
    environment.clock.advance(PURGE_DELAY_S)
    await environment.accounts().deletion.resume_deletions()
    assert await environment.database["users"].count_documents({"leaving": {"$exists": True}}) == 1, (
        "the account is kept until its groups are left"
    )
    environment.owner_unavailable = False
    await assert_purged(environment, environment.accounts())
    assert environment.left_groups == [caller.user_id]


async def test_deletion_mark_alone_is_resumed(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    """The server died right after it wrote the deletion mark."""
    await environment.profiles()._store.mark_deleting(caller.user_id, environment.clock.now_ms())
    await environment.accounts().deletion.resume_deletions()
    with pytest.raises(DeviceRevoked):
        await accounts.admit(caller)
    assert environment.left_groups == [caller.user_id]
    await assert_purged(environment, accounts)


async def test_background_job_completes_deletion_of_another_server(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    running = asyncio.create_task(accounts.deletion.run())
    await run_ready()
    await environment.profiles()._store.mark_deleting(caller.user_id, environment.clock.now_ms())
    environment.clock.advance(PURGE_DELAY_S)

    async def is_purged() -> bool:
        [user] = await environment.database["users"].find().to_list()
        return user.keys() == {"_id", "gone"}

    await eventually(is_purged)
    assert environment.left_groups == [caller.user_id]
    running.cancel()
    await asyncio.wait([running])


async def test_deletion_returns_while_groups_are_still_being_left(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    environment.may_leave.clear()
    running = asyncio.create_task(accounts.deletion.run())
    await asyncio.wait_for(accounts.delete_account(caller, PASSWORD), 10)
    await eventually(lambda: environment.leaving == [caller.user_id])
    # A repeat, and a sweep meanwhile, do not run the steps once more.
    await accounts.delete_account(caller, PASSWORD)
    await accounts.deletion.resume_deletions()
    assert (environment.leaving, environment.left_groups) == ([caller.user_id], [])
    environment.may_leave.set()
    await eventually(lambda: environment.left_groups == [caller.user_id])
    running.cancel()
    await asyncio.wait([running])


async def test_account_is_purged_after_margin_and_leaves_groups_again(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    await accounts.delete_account(caller, PASSWORD)
    environment.clock.advance(PURGE_DELAY_S / 2)
    await accounts.deletion.resume_deletions()
    assert await environment.database["users"].count_documents({"leaving": {"$exists": True}}) == 1
    await assert_purged(environment, accounts)
    assert len(environment.left_groups) == 2


async def test_login_name_is_reserved_after_deletion(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    await accounts.delete_account(caller, PASSWORD)
    await assert_purged(environment, accounts)
    with pytest.raises(LoginNameTaken):
        await accounts.register("alice", PASSWORD, "", DeviceDescription(), "peer")
    [name] = await environment.database["login_names"].find().to_list()
    assert name["released"]
    indexes = await environment.database["login_names"].index_information()
    assert indexes["released_1"]["expireAfterSeconds"] == 30 * 24 * 3600
    # The database does this when the reservation expires.
    await environment.database["login_names"].delete_one({"_id": "alice"})
    again = await accounts.register("alice", PASSWORD, "", DeviceDescription(), "peer")
    assert again.user_id != caller.user_id


async def test_deletion_removes_own_blocks_and_keeps_blocks_by_others(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    bob = await accounts.register("bob", PASSWORD, "", DeviceDescription(), "peer")
    await environment.blocking().block(caller.user_id, bob.user_id)
    await environment.blocking().block(bob.user_id, caller.user_id)
    await accounts.delete_account(caller, PASSWORD)
    await accounts.deletion.resume_deletions()
    assert await environment.blocking().list_blocked(caller.user_id, "", 0) == []
    assert await environment.blocking().list_blocked(bob.user_id, "", 0) == [caller.user_id]


async def test_sign_in_concurrent_with_deletion_does_not_survive(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    outcomes = await asyncio.gather(
        accounts.delete_account(caller, PASSWORD),
        *(login(environment.accounts()) for _ in range(5)),
        return_exceptions=True,
    )
    deleted, *logins = outcomes
    assert deleted is None
    assert {type(each) for each in logins} <= {SignInSession, CredentialsInvalid}, logins
    assert await accounts.list_devices(caller.user_id) == ()


async def test_externally_signed_in_user_is_deleted_without_password_for_good(
    environment: AccountsEnvironment,
) -> None:
    accounts = environment.accounts(AccountSettings(sign_in_here=False))
    caller = Claims("a" * 32, "1" * 32, 2e9, "Alice")
    await accounts.admit(caller)
    await accounts.delete_account(caller, "")
    for claims in (caller, replace(caller, device_id="2" * 32)):
        with pytest.raises(DeviceRevoked):
            await accounts.admit(claims)
    await assert_purged(environment, accounts)
    for claims in (caller, replace(caller, device_id="2" * 32)):
        with pytest.raises(DeviceRevoked):
            await accounts.admit(claims)
    await accounts.logout(caller)
    await accounts.delete_account(caller, "")
    assert await environment.database["devices"].count_documents({}) == 0

"""The first call of an externally signed-in user provisions the account."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from chat_service.accounts.account import Profile, ProfileChange
from chat_service.accounts.accounts import MAX_REMEMBERED_EXTERNAL_DEVICES, Accounts, AccountSettings
from chat_service.accounts.devices import DeviceDescription
from chat_service.accounts.errors import DeviceRevoked
from servicekit.auth import Claims
from servicekit.errors import Disabled
from tests.integration.accounts.environment import AccountsEnvironment

pytestmark = pytest.mark.integration

ALICE = Claims("a" * 32, "1" * 32, 2e9, "Alice  Smith", "Alice")
BOB = Claims("b" * 32, "2" * 32, 2e9)


@pytest.fixture
def accounts(environment: AccountsEnvironment) -> Accounts:
    return environment.accounts(AccountSettings(sign_in_here=False, max_devices=3))


async def names_found(environment: AccountsEnvironment, text: str) -> list[str]:
    return [each.login_name for each in await environment.profiles().search_profiles(text, "", 20)]


async def test_first_call_provisions_user(environment: AccountsEnvironment, accounts: Accounts) -> None:
    assert await environment.profiles().filter_existing([ALICE.user_id]) == set()
    await accounts.admit(ALICE)
    assert await environment.profiles().filter_existing([ALICE.user_id]) == {ALICE.user_id}
    assert await environment.profiles().get_profile(ALICE.user_id) == Profile(ALICE.user_id, "alice", "Alice Smith")
    assert await names_found(environment, "smi") == ["alice"]
    [device] = await accounts.list_devices(ALICE.user_id)
    assert device.device_id == ALICE.device_id


async def test_later_claims_do_not_overwrite_profile(environment: AccountsEnvironment, accounts: Accounts) -> None:
    await accounts.admit(ALICE)
    await environment.profiles().update_profile(ALICE.user_id, ProfileChange(display_name="A."))
    await accounts.admit(replace(ALICE, name="Alice Jones", preferred_username="jones"))
    await accounts.admit(replace(ALICE, name="Alice Jones", device_id="3" * 32))
    assert await environment.profiles().get_profile(ALICE.user_id) == Profile(ALICE.user_id, "alice", "A.")


@pytest.mark.parametrize("name", ["", "al", "alice@example.org", "c" * 32, "\0", "a" * 65, "Älice"])
async def test_unusable_preferred_name_falls_back_to_user_id(
    environment: AccountsEnvironment, accounts: Accounts, name: str
) -> None:
    await accounts.admit(replace(BOB, preferred_username=name))
    assert await environment.profiles().get_profile(BOB.user_id) == Profile(BOB.user_id, BOB.user_id, BOB.user_id)


async def test_taken_preferred_name_falls_back_to_user_id(environment: AccountsEnvironment, accounts: Accounts) -> None:
    await accounts.admit(ALICE)
    await accounts.admit(replace(BOB, preferred_username="ALICE", name="Alice Too" * 50))
    bob = await environment.profiles().get_profile(BOB.user_id)
    assert bob.login_name == BOB.user_id
    assert len(bob.display_name) == 128


async def test_concurrent_first_calls_provision_one_user(environment: AccountsEnvironment) -> None:
    servers = [environment.accounts(AccountSettings(sign_in_here=False)) for _ in range(4)]
    callers = [replace(ALICE, device_id=f"{number:032x}") for number in range(4)]
    await asyncio.gather(*(server.admit(each) for server in servers for each in callers))
    assert len(await servers[0].list_devices(ALICE.user_id)) == 4
    assert await names_found(environment, "alice") == ["alice"]
    assert await environment.database["users"].count_documents({}) == 1
    assert await environment.database["login_names"].count_documents({}) == 1


async def test_next_call_completes_interrupted_provisioning(
    environment: AccountsEnvironment, accounts: Accounts
) -> None:
    await environment.database["login_names"].insert_one({"_id": "alice", "user": bytes.fromhex(ALICE.user_id)})
    await accounts.admit(ALICE)
    await environment.database["devices"].drop()
    await environment.database["users"].update_one({}, {"$unset": {"prefixes": ""}})
    await accounts.admit(ALICE)
    assert await names_found(environment, "alice") == ["alice"]
    assert len(await accounts.list_devices(ALICE.user_id)) == 1


async def test_revoked_external_device_stays_refused(environment: AccountsEnvironment, accounts: Accounts) -> None:
    await accounts.logout(BOB)
    await accounts.admit(ALICE)
    await accounts.admit(replace(ALICE, device_id="3" * 32))
    await accounts.revoke_device(ALICE.user_id, ALICE.device_id)
    for caller in (BOB, ALICE):
        with pytest.raises(DeviceRevoked):
            await accounts.admit(caller)
    for number in range(MAX_REMEMBERED_EXTERNAL_DEVICES - 1):
        other = replace(ALICE, device_id=f"{number + 100:032x}")
        await accounts.admit(other)
        await accounts.logout(other)
    with pytest.raises(DeviceRevoked):
        await accounts.admit(ALICE)
    await accounts.admit(replace(ALICE, device_id="3" * 32))


async def test_oldest_device_beyond_limit_is_forgotten_and_can_return(
    environment: AccountsEnvironment, accounts: Accounts
) -> None:
    devices = [replace(ALICE, device_id=f"{number:032x}") for number in range(5)]
    for each in devices:
        environment.clock.advance(1)
        await accounts.admit(each)
    assert [each.device_id for each in await accounts.list_devices(ALICE.user_id)] == [d.device_id for d in devices[2:]]
    await accounts.admit(devices[0])
    assert environment.signed_out == []


async def test_local_sign_in_is_disabled(accounts: Accounts) -> None:
    for call in (
        accounts.register("alice", "correct horse", "", DeviceDescription(), "peer"),
        accounts.login("alice", "correct horse", DeviceDescription(), "peer"),
        accounts.refresh("whatever"),
    ):
        with pytest.raises(Disabled):
            await call

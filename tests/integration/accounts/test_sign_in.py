"""Users register and sign their devices in and out; every other sign-in is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from argon2 import PasswordHasher

from chat_service.accounts.account import Account, Profile
from chat_service.accounts.accounts import Accounts, AccountSettings
from chat_service.accounts.devices import DeviceDescription, Platform
from chat_service.accounts.errors import CredentialsInvalid, DeviceNotFound, LoginNameTaken, TooManyDevices
from chat_service.accounts.passwords import PasswordHasherPool
from chat_service.accounts.sign_in_sessions import SignInSession
from chat_service.storage.accounts import MongoAccountStore
from servicekit.errors import Disabled, RateLimited, ServerBusy
from servicekit.rate_limiter import RateLimit
from tests.integration.accounts.environment import HOME, AccountsEnvironment, is_admitted

pytestmark = pytest.mark.integration

PASSWORD = "correct horse"
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PHONE = DeviceDescription("phone", Platform.ANDROID)
GENEROUS = AccountSettings(attempts_per_name=RateLimit(rate=100, burst=100))


async def register(accounts: Accounts, name: str = "alice") -> SignInSession:
    return await accounts.register(name, PASSWORD, "", PHONE, "peer")


async def login(accounts: Accounts, device: DeviceDescription = PHONE, name: str = "alice") -> SignInSession:
    return await accounts.login(name, PASSWORD, device, "peer")


async def test_registration_signs_in_first_device(environment: AccountsEnvironment, accounts: Accounts) -> None:
    session = await accounts.register("Alice", PASSWORD, " Alice  Smith ", PHONE, "peer")
    claims = environment.verifier().verify(session.access_token)
    assert (claims.user_id, claims.device_id) == (session.user_id, session.device_id)
    assert claims.expires_at == session.access_token_expires_at
    assert session.home == HOME
    assert await is_admitted(accounts, session.user_id, session.device_id)
    assert await environment.profiles().get_profile(session.user_id) == Profile(session.user_id, "alice", "Alice Smith")


async def test_login_name_is_unique_regardless_of_case(accounts: Accounts) -> None:
    await register(accounts)
    with pytest.raises(LoginNameTaken):
        await register(accounts, "ALICE")


async def test_sign_in_refused_by_a_busy_server_does_not_count_as_an_attempt(
    environment: AccountsEnvironment, accounts: Accounts
) -> None:
    await register(accounts)
    busy = PasswordHasherPool(max_concurrent=1, max_waiting=0, hasher=QUICK)
    await busy._queue.acquire("another address")
    server = replace(environment, passwords=busy).accounts()
    for _ in range(30):
        with pytest.raises(ServerBusy):
            await login(server)
    busy._queue.release()
    assert (await login(server)).user_id
    busy.close()


async def test_one_of_many_concurrent_registrations_succeeds(environment: AccountsEnvironment) -> None:
    servers = [environment.accounts() for _ in range(8)]
    outcomes = await asyncio.gather(*(register(each) for each in servers), return_exceptions=True)
    sessions = [each for each in outcomes if isinstance(each, SignInSession)]
    assert len(sessions) == 1
    assert sum(isinstance(each, LoginNameTaken) for each in outcomes) == 7
    assert await environment.database["users"].count_documents({}) == 1
    assert (await login(servers[0])).user_id == sessions[0].user_id


async def test_crash_before_claim_leaves_login_name_free(environment: AccountsEnvironment, accounts: Accounts) -> None:
    await MongoAccountStore(environment.database).insert(Account(Profile("a" * 32, "alice", "alice"), "hash", 0))
    session = await register(accounts)
    assert session.user_id != "a" * 32
    assert [each.user_id for each in await environment.profiles().search_profiles("ali", "", 20)] == [session.user_id]


async def test_login_completes_registration_interrupted_after_claim(
    environment: AccountsEnvironment, accounts: Accounts
) -> None:
    store, stored = MongoAccountStore(environment.database), await environment.passwords.hash(PASSWORD)
    await store.insert(Account(Profile("a" * 32, "alice", "Alice"), stored, 0))
    await store.claim_login_name("alice", "a" * 32)
    assert await environment.profiles().search_profiles("ali", "", 20) == []
    assert (await login(accounts)).user_id == "a" * 32
    assert len(await environment.profiles().search_profiles("ali", "", 20)) == 1


async def test_wrong_password_and_unknown_name_get_same_error(accounts: Accounts) -> None:
    await register(accounts)
    refusals = []
    for name, password in (("alice", "wrong"), ("nobody", PASSWORD), ("al\0ice", PASSWORD), ("$ne", "{}")):
        with pytest.raises(CredentialsInvalid) as caught:
            await accounts.login(name, password, PHONE, "peer")
        refusals.append(str(caught.value))
    assert len(set(refusals)) == 1


async def test_outdated_hash_is_replaced_at_login(environment: AccountsEnvironment, accounts: Accounts) -> None:
    session = await register(accounts)
    store = MongoAccountStore(environment.database)
    before = await store.load(session.user_id)
    assert before is not None
    weaker = PasswordHasher(time_cost=1, memory_cost=16, parallelism=1).hash(PASSWORD)
    await store.set_password_hash(session.user_id, before.password_hash, weaker)
    await login(accounts)
    after = await store.load(session.user_id)
    assert after is not None
    assert not environment.passwords.is_outdated(after.password_hash)
    assert (await login(accounts)).user_id == session.user_id


async def test_known_device_keeps_its_id_after_logout(environment: AccountsEnvironment, accounts: Accounts) -> None:
    first = await register(accounts)
    again = replace(PHONE, device_id=first.device_id)
    assert (await login(accounts, again)).device_id == first.device_id
    await accounts.logout(environment.claims(first))
    assert not await is_admitted(accounts, first.user_id, first.device_id)
    assert (await login(accounts, again)).device_id == first.device_id
    assert await is_admitted(accounts, first.user_id, first.device_id)
    assert (await login(accounts)).device_id != first.device_id


async def test_device_of_another_account_is_not_found(accounts: Accounts) -> None:
    await register(accounts)
    bob = await register(accounts, "bob")
    with pytest.raises(DeviceNotFound):
        await login(accounts, replace(PHONE, device_id=bob.device_id))


async def test_logout_ends_streams_and_can_be_repeated(environment: AccountsEnvironment, accounts: Accounts) -> None:
    session = await register(accounts)
    told = (session.user_id, session.device_id, "DEVICE_REVOKED")
    await accounts.logout(environment.claims(session))
    await accounts.logout(environment.claims(session))
    assert environment.signed_out == [told, told]


async def test_devices_beyond_limit_are_refused(environment: AccountsEnvironment) -> None:
    accounts = environment.accounts(replace(GENEROUS, max_devices=3))
    first = await register(accounts)
    outcomes = await asyncio.gather(*(login(accounts) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(each, SignInSession) for each in outcomes) == 2
    assert sum(isinstance(each, TooManyDevices) for each in outcomes) == 6
    await login(accounts, replace(PHONE, device_id=first.device_id))
    await accounts.logout(environment.claims(first))
    await login(accounts)
    with pytest.raises(TooManyDevices):
        await login(accounts, replace(PHONE, device_id=first.device_id))


async def test_guesses_are_rate_limited_by_name_and_address(environment: AccountsEnvironment) -> None:
    few = RateLimit(rate=0.5, burst=2)
    by_name = environment.accounts(AccountSettings(attempts_per_name=few))
    by_peer = environment.accounts(AccountSettings(attempts_per_address=few))
    for number in range(2):
        with pytest.raises(CredentialsInvalid):
            await by_name.login("alice", "guess", PHONE, f"peer {number}")
        with pytest.raises(CredentialsInvalid):
            await by_peer.login(f"name {number}", "guess", PHONE, "peer")
    with pytest.raises(RateLimited) as caught:
        await by_name.login("ALICE", "guess", PHONE, "another peer")
    assert caught.value.retry_after == pytest.approx(2)
    with pytest.raises(RateLimited):
        await by_peer.login("another name", "guess", PHONE, "peer")
    with pytest.raises(RateLimited):
        await by_peer.register("alice", PASSWORD, "", PHONE, "peer")
    environment.clock.advance(2)
    with pytest.raises(CredentialsInvalid):
        await by_name.login("alice", "guess", PHONE, "peer")


async def test_sign_in_is_refused_with_external_issuer(environment: AccountsEnvironment) -> None:
    session = await register(environment.accounts())
    accounts = environment.accounts(AccountSettings(sign_in_here=False))
    for refused in (register(accounts, "bob"), login(accounts)):
        with pytest.raises(Disabled) as caught:
            await refused
        assert (caught.value.code, caught.value.reason) == ("PERMISSION_DENIED", "DISABLED")
    assert not await is_admitted(environment.accounts(), "e" * 32, "f" * 32)
    assert await is_admitted(accounts, "e" * 32, "f" * 32)
    await accounts.logout(environment.claims(session))
    assert not await is_admitted(accounts, session.user_id, session.device_id)


async def test_filter_existing_returns_known_users(environment: AccountsEnvironment, accounts: Accounts) -> None:
    alice = await register(accounts)
    assert await environment.profiles().filter_existing([alice.user_id, "f" * 32]) == {alice.user_id}


async def test_secrets_are_not_stored_in_clear(environment: AccountsEnvironment, accounts: Accounts) -> None:
    session = await register(accounts)
    kept = ""
    for name in await environment.database.list_collection_names():
        kept += str(await environment.database[name].find().to_list())
    for secret in (PASSWORD, session.refresh_token, session.access_token):
        assert secret not in kept

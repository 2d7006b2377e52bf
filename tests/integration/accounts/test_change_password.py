"""A password change needs the current password, is idempotent, and signs out all other devices."""

from __future__ import annotations

import asyncio

import pytest

from chat_service.accounts.accounts import Accounts, AccountSettings
from chat_service.accounts.devices import DeviceDescription
from chat_service.accounts.errors import CredentialsInvalid, LoginNameTaken, PasswordTooWeak, RefreshTokenInvalid
from chat_service.accounts.sign_in_sessions import SignInSession
from servicekit.auth import Claims
from servicekit.errors import Disabled, RateLimited
from servicekit.rate_limiter import RateLimit
from tests.integration.accounts.environment import AccountsEnvironment

pytestmark = pytest.mark.integration

OLD, NEW = "correct horse", "battery staple"


@pytest.fixture
async def phone(accounts: Accounts) -> SignInSession:
    return await accounts.register("alice", OLD, "", DeviceDescription("phone"), "peer")


@pytest.fixture
def caller(environment: AccountsEnvironment, phone: SignInSession) -> Claims:
    return environment.claims(phone)


async def login(accounts: Accounts, password: str, device_id: str = "") -> SignInSession:
    return await accounts.login("alice", password, DeviceDescription(device_id=device_id), "peer")


async def test_new_password_is_accepted_and_old_one_refused(accounts: Accounts, caller: Claims) -> None:
    await accounts.change_password(caller, OLD, NEW)
    with pytest.raises(CredentialsInvalid):
        await login(accounts, OLD)
    assert (await login(accounts, NEW)).user_id == caller.user_id


async def test_other_devices_are_signed_out(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    others = [await login(accounts, OLD) for _ in range(3)]
    await accounts.change_password(caller, OLD, NEW)
    assert {device for _, device, _ in environment.signed_out} == {each.device_id for each in others}
    assert [each.device_id for each in await accounts.list_devices(caller.user_id)] == [caller.device_id]
    for each in others:
        with pytest.raises(RefreshTokenInvalid):
            await accounts.refresh(each.refresh_token)


async def test_change_can_be_repeated_after_lost_response(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    other = await login(accounts, OLD)
    await accounts.change_password(caller, OLD, NEW)
    environment.signed_out.clear()
    await accounts.change_password(caller, OLD, NEW)
    assert environment.signed_out == [(caller.user_id, other.device_id, "DEVICE_REVOKED")], (
        "the repeat completes an interrupted sign-out"
    )


@pytest.mark.parametrize("password", ["alice", "ALICE", "aaaaaaaaaa", "Password1", "qwertyuiop", OLD])
async def test_weak_password_is_refused(accounts: Accounts, caller: Claims, password: str) -> None:
    with pytest.raises(PasswordTooWeak) as caught:
        await accounts.change_password(caller, OLD, password)
    assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "PASSWORD_TOO_WEAK")
    assert [violation.field for violation in caught.value.violations] == ["new_password"]
    await login(accounts, OLD)


@pytest.mark.parametrize("password", ["bobbobbob", "aaaaaaaaaa", "PASSWORD1", "1234567890"])
async def test_account_with_weak_password_is_not_registered(accounts: Accounts, password: str) -> None:
    with pytest.raises(PasswordTooWeak) as caught:
        await accounts.register("bobbobbob", password, "", DeviceDescription(), "peer")
    assert [violation.field for violation in caught.value.violations] == ["password"]


async def test_wrong_current_password_changes_nothing(accounts: Accounts, caller: Claims) -> None:
    with pytest.raises(CredentialsInvalid):
        await accounts.change_password(caller, "a guess", NEW)
    await login(accounts, OLD)


async def test_guesses_share_the_rate_limit_of_sign_ins(
    environment: AccountsEnvironment, accounts: Accounts, caller: Claims
) -> None:
    accounts = environment.accounts(AccountSettings(attempts_per_name=RateLimit(rate=0.5, burst=4)))
    for number in range(2):
        with pytest.raises(CredentialsInvalid):
            await accounts.change_password(caller, f"guess {number}", NEW)
    with pytest.raises(RateLimited) as caught:
        await environment.accounts(AccountSettings(attempts_per_name=RateLimit(rate=0.5, burst=4))).change_password(
            caller, OLD, NEW
        )
    assert caught.value.retry_after == pytest.approx(2)
    with pytest.raises(RateLimited):
        await login(accounts, OLD, caller.device_id)
    environment.clock.advance(2)
    await accounts.change_password(caller, OLD, NEW)


async def test_guesses_by_others_do_not_lock_out_known_device(
    environment: AccountsEnvironment, phone: SignInSession
) -> None:
    servers = [environment.accounts(AccountSettings(attempts_per_name=RateLimit(rate=0.5, burst=4))) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(server.login("alice", "guess", DeviceDescription(), "peer") for server in servers for _ in range(4)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, CredentialsInvalid) for each in outcomes) == 4, "all servers share one limit"
    assert sum(isinstance(each, RateLimited) for each in outcomes) == 8
    with pytest.raises(RateLimited):
        await login(servers[0], OLD)
    with pytest.raises(RateLimited):
        await login(servers[0], OLD, "f" * 32)
    assert (await login(servers[0], OLD, phone.device_id)).device_id == phone.device_id


async def test_correct_passwords_do_not_count_as_attempts(
    environment: AccountsEnvironment, phone: SignInSession
) -> None:
    accounts = environment.accounts(AccountSettings(attempts_per_name=RateLimit(rate=0.001, burst=2)))
    for _ in range(6):
        await login(accounts, OLD, phone.device_id)


async def test_sign_in_concurrent_with_change_does_not_survive(
    environment: AccountsEnvironment, caller: Claims
) -> None:
    """In either order, a sign-in with the old password is signed out afterwards."""
    changing, signing = environment.accounts(), environment.accounts()
    outcomes = await asyncio.gather(
        changing.change_password(caller, OLD, NEW), *(login(signing, OLD) for _ in range(5)), return_exceptions=True
    )
    changed, *logins = outcomes
    assert changed is None
    assert {type(each) for each in logins} <= {SignInSession, CredentialsInvalid}, logins
    assert [each.device_id for each in await signing.list_devices(caller.user_id)] == [caller.device_id]


async def test_password_change_is_refused_with_external_issuer(
    environment: AccountsEnvironment, caller: Claims
) -> None:
    with pytest.raises(Disabled):
        await environment.accounts(AccountSettings(sign_in_here=False)).change_password(caller, OLD, NEW)


async def test_login_name_stays_taken_after_change(accounts: Accounts, caller: Claims) -> None:
    await accounts.change_password(caller, OLD, NEW)
    with pytest.raises(LoginNameTaken):
        await accounts.register("alice", OLD, "", DeviceDescription(), "peer")

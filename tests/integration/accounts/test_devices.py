"""The devices of an account are listed and revoked."""

from __future__ import annotations

import pytest

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.devices import DeviceDescription, Platform
from chat_service.accounts.errors import DeviceNotFound, DeviceRevoked, RefreshTokenInvalid
from chat_service.accounts.sign_in_sessions import SignInSession
from tests.integration.accounts.environment import AccountsEnvironment

pytestmark = pytest.mark.integration

PASSWORD = "correct horse"


@pytest.fixture
async def phone(accounts: Accounts) -> SignInSession:
    return await accounts.register("alice", PASSWORD, "", DeviceDescription("phone", Platform.IOS), "peer")


async def laptop_of_alice(accounts: Accounts) -> SignInSession:
    return await accounts.login("alice", PASSWORD, DeviceDescription("laptop"), "peer")


async def test_devices_are_listed_oldest_first_until_revoked(
    environment: AccountsEnvironment, accounts: Accounts, phone: SignInSession
) -> None:
    environment.clock.advance(1)
    laptop = await laptop_of_alice(accounts)
    first, second = await accounts.list_devices(phone.user_id)
    assert (first.device_id, first.name, first.platform) == (phone.device_id, "phone", Platform.IOS)
    assert (second.device_id, second.created_ms) == (laptop.device_id, environment.clock.now_ms())
    environment.clock.advance(1)
    await accounts.refresh(laptop.refresh_token)
    assert [each.seen_ms - each.created_ms for each in await accounts.list_devices(phone.user_id)] == [0, 1000]
    await accounts.revoke_device(phone.user_id, phone.device_id)
    assert [each.device_id for each in await accounts.list_devices(phone.user_id)] == [laptop.device_id]


async def test_revoked_device_is_refused_and_can_be_revoked_again(
    environment: AccountsEnvironment, accounts: Accounts, phone: SignInSession
) -> None:
    laptop = await laptop_of_alice(accounts)
    await accounts.admit(environment.claims(laptop))
    for _ in range(2):
        await environment.accounts().revoke_device(phone.user_id, laptop.device_id)
    assert environment.signed_out == [(phone.user_id, laptop.device_id, "DEVICE_REVOKED")] * 2
    with pytest.raises(DeviceRevoked):
        await accounts.admit(environment.claims(laptop))
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(laptop.refresh_token)
    await accounts.admit(environment.claims(phone))


async def test_device_of_another_account_cannot_be_revoked(accounts: Accounts, phone: SignInSession) -> None:
    bob = await accounts.register("bob", PASSWORD, "", DeviceDescription(), "peer")
    for device_id in (bob.device_id, "f" * 32):
        with pytest.raises(DeviceNotFound):
            await accounts.revoke_device(phone.user_id, device_id)

"""A device keeps its tokens fresh, over lost answers and beside a thief."""

from __future__ import annotations

import asyncio

import pytest

from chat_service.accounts.accounts import Accounts
from chat_service.accounts.devices import DeviceDescription
from chat_service.accounts.errors import RefreshTokenInvalid
from chat_service.accounts.refresh_tokens import GRACE_MS
from chat_service.accounts.sign_in_sessions import SignInSession
from tests.integration.accounts.environment import AccountsEnvironment, is_admitted

pytestmark = pytest.mark.integration

PASSWORD = "correct horse"


@pytest.fixture
async def session(accounts: Accounts) -> SignInSession:
    return await accounts.register("alice", PASSWORD, "", DeviceDescription("phone"), "peer")


async def test_each_refresh_gives_another_pair(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    refreshed = await accounts.refresh(session.refresh_token)
    assert (refreshed.user_id, refreshed.device_id) == (session.user_id, session.device_id)
    assert refreshed.refresh_token != session.refresh_token
    assert environment.verifier().verify(refreshed.access_token).device_id == session.device_id


async def test_two_refreshes_at_once_leave_both_signed_in(
    environment: AccountsEnvironment, session: SignInSession
) -> None:
    both = await asyncio.gather(*(environment.accounts().refresh(session.refresh_token) for _ in range(6)))
    assert len({each.refresh_token for each in both}) == 1
    await environment.accounts().refresh(both[-1].refresh_token)
    assert environment.signed_out == []


async def test_a_lost_answer_can_be_asked_for_again_much_later(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    await accounts.refresh(session.refresh_token)
    environment.clock.advance(GRACE_MS)
    again = await accounts.refresh(session.refresh_token)
    assert (await accounts.refresh(again.refresh_token)).device_id == session.device_id


async def test_a_reused_token_signs_the_device_out(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    second = await accounts.refresh(session.refresh_token)
    third = await accounts.refresh(second.refresh_token)
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(session.refresh_token)
    assert environment.signed_out == [(session.user_id, session.device_id, "DEVICE_REVOKED")]
    assert not await is_admitted(accounts, session.user_id, session.device_id)
    for token in (second.refresh_token, third.refresh_token):
        with pytest.raises(RefreshTokenInvalid):
            await accounts.refresh(token)


async def test_a_thief_and_the_device_cannot_go_on_beside_each_other(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    stolen = (await accounts.refresh(session.refresh_token)).refresh_token
    thief = await accounts.refresh(stolen)
    environment.clock.advance(600)
    await accounts.refresh(stolen)
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(thief.refresh_token)
    assert len(environment.signed_out) == 1


async def test_tokens_of_an_earlier_sign_in_do_no_harm(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    again = await accounts.login("alice", PASSWORD, DeviceDescription(device_id=session.device_id), "peer")
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(session.refresh_token)
    assert environment.signed_out == []
    await accounts.refresh(again.refresh_token)


async def test_a_signed_out_device_gets_no_token(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    await accounts.logout(environment.claims(session))
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(session.refresh_token)


@pytest.mark.parametrize("token", ["x", "A" * 107, "é" * 107, "A" * 512])
async def test_what_is_no_token_is_refused(accounts: Accounts, session: SignInSession, token: str) -> None:
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(token)


async def test_devices_of_one_account_refresh_beside_each_other(
    environment: AccountsEnvironment, session: SignInSession
) -> None:
    accounts = environment.accounts()
    others = [await accounts.login("alice", PASSWORD, DeviceDescription(), "peer") for _ in range(7)]
    tokens = [each.refresh_token for each in (session, *others)]
    refreshed = await asyncio.gather(*(accounts.refresh(token) for token in tokens))
    assert len({each.device_id for each in refreshed}) == 8

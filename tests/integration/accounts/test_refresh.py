"""Refresh tokens survive lost responses and reveal stolen tokens."""

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


async def test_refresh_returns_new_token_pair(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    refreshed = await accounts.refresh(session.refresh_token)
    assert (refreshed.user_id, refreshed.device_id) == (session.user_id, session.device_id)
    assert refreshed.refresh_token != session.refresh_token
    assert environment.verifier().verify(refreshed.access_token).device_id == session.device_id


async def test_concurrent_refreshes_return_the_same_token(
    environment: AccountsEnvironment, session: SignInSession
) -> None:
    both = await asyncio.gather(*(environment.accounts().refresh(session.refresh_token) for _ in range(6)))
    assert len({each.refresh_token for each in both}) == 1
    await environment.accounts().refresh(both[-1].refresh_token)
    assert environment.signed_out == []


async def test_refresh_can_be_repeated_after_lost_response(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    await accounts.refresh(session.refresh_token)
    environment.clock.advance(GRACE_MS)
    again = await accounts.refresh(session.refresh_token)
    assert (await accounts.refresh(again.refresh_token)).device_id == session.device_id


async def test_reused_token_signs_out_device(
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


async def test_stolen_token_and_device_cannot_both_refresh(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    stolen = (await accounts.refresh(session.refresh_token)).refresh_token
    thief = await accounts.refresh(stolen)
    environment.clock.advance(600)
    await accounts.refresh(stolen)
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(thief.refresh_token)
    assert len(environment.signed_out) == 1


async def test_token_of_earlier_sign_in_is_refused_without_sign_out(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    again = await accounts.login("alice", PASSWORD, DeviceDescription(device_id=session.device_id), "peer")
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(session.refresh_token)
    assert environment.signed_out == []
    await accounts.refresh(again.refresh_token)


async def test_signed_out_device_is_refused(
    environment: AccountsEnvironment, accounts: Accounts, session: SignInSession
) -> None:
    await accounts.logout(environment.claims(session))
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(session.refresh_token)


@pytest.mark.parametrize("token", ["x", "A" * 107, "é" * 107, "A" * 512])
async def test_malformed_token_is_refused(accounts: Accounts, session: SignInSession, token: str) -> None:
    with pytest.raises(RefreshTokenInvalid):
        await accounts.refresh(token)


async def test_devices_of_one_account_refresh_concurrently(
    environment: AccountsEnvironment, session: SignInSession
) -> None:
    accounts = environment.accounts()
    others = [await accounts.login("alice", PASSWORD, DeviceDescription(), "peer") for _ in range(7)]
    tokens = [each.refresh_token for each in (session, *others)]
    refreshed = await asyncio.gather(*(accounts.refresh(token) for token in tokens))
    assert len({each.device_id for each in refreshed}) == 8

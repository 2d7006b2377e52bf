"""A chain of refresh tokens tolerates lost responses and forged tokens, and detects stolen tokens."""

import secrets
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_service.accounts.errors import RefreshTokenInvalid
from chat_service.accounts.refresh_tokens import GRACE_MS, RefreshChain, RefreshToken, RefreshTokenReused

USER, DEVICE = "a" * 32, "b" * 32


def test_token_round_trips() -> None:
    _, token = RefreshChain.start(USER, DEVICE)
    assert RefreshToken.parse(str(token)) == token


@given(st.text(max_size=200))
def test_malformed_token_is_refused(text: str) -> None:
    with pytest.raises(RefreshTokenInvalid):
        RefreshToken.parse(text)


def test_token_repr_hides_its_secrets() -> None:
    _, token = RefreshChain.start(USER, DEVICE)
    assert token.secret.hex() not in repr(token)
    assert str(token.secret) not in repr(token)


def test_previous_token_stays_valid_after_rotation() -> None:
    chain, first = RefreshChain.start(USER, DEVICE)
    chain, second = chain.rotate(first, 0)
    assert second.secret != first.secret
    chain, again = chain.rotate(first, GRACE_MS)
    assert again.secret not in (first.secret, second.secret)
    chain, third = chain.rotate(again, GRACE_MS)
    assert third.secret != again.secret


def test_previous_token_gets_same_successor_within_grace_period() -> None:
    chain, first = RefreshChain.start(USER, DEVICE)
    chain, second = chain.rotate(first, 0)
    same, again = chain.rotate(first, GRACE_MS - 1)
    assert again == second
    assert same is chain


def test_older_token_is_reuse() -> None:
    chain, first = RefreshChain.start(USER, DEVICE)
    chain, second = chain.rotate(first, 0)
    chain, _ = chain.rotate(second, 0)
    with pytest.raises(RefreshTokenReused):
        chain.rotate(first, 0)


def test_replaced_unused_token_is_reuse() -> None:
    chain, first = RefreshChain.start(USER, DEVICE)
    chain, stolen = chain.rotate(first, 0)
    chain, _ = chain.rotate(first, GRACE_MS)
    with pytest.raises(RefreshTokenReused):
        chain.rotate(stolen, GRACE_MS)


def test_forged_token_is_refused_without_reuse() -> None:
    chain, token = RefreshChain.start(USER, DEVICE)
    forged = replace(token, family=secrets.token_bytes(16), secret=secrets.token_bytes(32))
    with pytest.raises(RefreshTokenInvalid) as caught:
        chain.rotate(forged, 0)
    assert not isinstance(caught.value, RefreshTokenReused)


def test_chain_stores_no_secret() -> None:
    chain, first = RefreshChain.start(USER, DEVICE)
    chain, second = chain.rotate(first, 0)
    kept = {chain.family, chain.newest, chain.previous, chain.nonce}
    assert not kept & {first.family, first.secret, second.secret}

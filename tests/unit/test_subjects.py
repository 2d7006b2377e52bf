"""Users and devices have the ids their tokens give them, whichever way their issuer names them."""

from __future__ import annotations

import uuid
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from servicekit.auth import TokenVerifier
from servicekit.failure import Failure
from servicekit.subjects import external_ids, native_ids
from tests.clock import ManualClock

ISSUER = "https://issuer.example/"
USER, DEVICE = "a" * 32, "b" * 32
of_issuer = external_ids(ISSUER)


def test_ids_of_ours_are_as_they_are() -> None:
    assert native_ids({"sub": USER, "did": DEVICE}) == (USER, DEVICE)
    for claims in (
        {"sub": USER},
        {"sub": "auth0|7", "did": DEVICE},
        {"sub": USER, "sid": DEVICE},
        {"sub": 7, "did": 7},
    ):
        with pytest.raises(Failure, match="TOKEN_INVALID"):
            native_ids(claims)


def test_ids_of_others_can_be_computed_by_everybody() -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, ISSUER)
    user_id, device_id = of_issuer({"sub": "auth0|7", "did": "phone"})
    assert user_id == uuid.uuid5(namespace, "auth0|7").hex
    assert device_id == uuid.uuid5(namespace, "auth0|7\nphone").hex
    assert external_ids("https://another.example/")({"sub": "auth0|7", "did": "phone"})[0] != user_id


def test_ids_of_others_that_are_like_ours_stay() -> None:
    assert of_issuer({"sub": USER, "did": DEVICE}) == (USER, DEVICE)


def test_a_session_serves_for_a_device() -> None:
    assert of_issuer({"sub": "7", "sid": "s"}) == of_issuer({"sub": "7", "did": "s"})
    assert of_issuer({"sub": "7", "did": "d", "sid": "s"}) == of_issuer({"sub": "7", "did": "d"})


@pytest.mark.parametrize(
    "claims", [{"sub": "7"}, {"sub": "", "did": "d"}, {"sub": 7, "did": "d"}, {"sub": "7", "did": "d" * 256}]
)
def test_who_cannot_be_told_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(Failure, match="TOKEN_INVALID"):
        of_issuer(claims)


@given(st.text(min_size=1, max_size=255), st.text(min_size=1, max_size=255))
def test_two_subjects_are_two_users(one: str, other: str) -> None:
    ids = [of_issuer({"sub": each, "did": "d"}) for each in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)


def test_names_are_told_if_they_are_names() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "r"}
    verifier = TokenVerifier({"keys": [jwk]}, issuer=ISSUER, audience="chat", read_ids=of_issuer, clock=ManualClock())
    claims = {"iss": ISSUER, "aud": ["chat", "mail"], "sub": "7", "did": "d", "exp": 1_900_000_000}
    for told, expected in (
        ({"name": "Alice", "preferred_username": "alice"}, ("Alice", "alice")),
        ({"name": 7}, ("", "")),
    ):
        token = jwt.encode({**claims, **told}, key, algorithm="RS256", headers={"kid": "r"})
        found = verifier.verify(token)
        assert (found.name, found.preferred_username) == expected

"""Users and devices get their ids from token claims, for native and external issuers."""

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


def test_native_ids_are_unchanged() -> None:
    assert native_ids({"sub": USER, "did": DEVICE}) == (USER, DEVICE)
    for claims in (
        {"sub": USER},
        {"sub": "auth0|7", "did": DEVICE},
        {"sub": USER, "sid": DEVICE},
        {"sub": 7, "did": 7},
    ):
        with pytest.raises(Failure, match="TOKEN_INVALID"):
            native_ids(claims)


def test_external_ids_are_derived_from_issuer_and_subject() -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, ISSUER)
    user_id, device_id = of_issuer({"sub": "auth0|7", "did": "phone"})
    assert user_id == uuid.uuid5(namespace, "auth0|7").hex
    assert device_id == uuid.uuid5(namespace, "auth0|7\nphone").hex
    assert external_ids("https://another.example/")({"sub": "auth0|7", "did": "phone"})[0] != user_id


def test_external_ids_in_native_form_are_unchanged() -> None:
    assert of_issuer({"sub": USER, "did": DEVICE}) == (USER, DEVICE)


def test_session_claim_replaces_missing_device_claim() -> None:
    assert of_issuer({"sub": "7", "sid": "s"}) == of_issuer({"sub": "7", "did": "s"})
    assert of_issuer({"sub": "7", "did": "d", "sid": "s"}) == of_issuer({"sub": "7", "did": "d"})


@pytest.mark.parametrize(
    "claims", [{"sub": "7"}, {"sub": "", "did": "d"}, {"sub": 7, "did": "d"}, {"sub": "7", "did": "d" * 256}]
)
def test_claims_without_usable_subject_or_device_are_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(Failure, match="TOKEN_INVALID"):
        of_issuer(claims)


@given(st.text(min_size=1, max_size=255), st.text(min_size=1, max_size=255))
def test_different_subjects_are_different_users(one: str, other: str) -> None:
    ids = [of_issuer({"sub": each, "did": "d"}) for each in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)


def test_names_are_read_from_claims_if_valid() -> None:
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

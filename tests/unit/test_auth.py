"""A token is valid only for its user, lifetime, issuer and audience."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

import jwt
import pytest

from servicekit.auth import (
    Claims,
    ServiceCredential,
    TokenSigner,
    TokenVerifier,
    generate_signing_key,
    jwks_of,
)
from servicekit.config import ConfigurationError
from servicekit.failure import Failure
from tests.clock import ManualClock

KEY = generate_signing_key()
OTHER_KEY = generate_signing_key()
USER, DEVICE = "a" * 32, "b" * 32


def signer(clock: ManualClock, key: bytes = KEY, audience: str = "parley", issuer: str = "parley") -> TokenSigner:
    return TokenSigner(key, issuer=issuer, audience=audience, clock=clock)


def verifier(clock: ManualClock) -> TokenVerifier:
    return TokenVerifier(jwks_of(KEY), issuer="parley", audience="parley", clock=clock)


def reason_of(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(Failure) as refused:
        verifier.verify(token)
    assert refused.value.code == "UNAUTHENTICATED"
    return refused.value.reason


def test_token_carries_user_device_and_expiry() -> None:
    clock = ManualClock()
    token, expires_at = signer(clock).sign(USER, DEVICE)
    assert verifier(clock).verify(token) == Claims(USER, DEVICE, expires_at)
    assert expires_at == clock.now_ms() / 1000 + 600


def test_token_carries_registered_claims_and_key_id() -> None:
    token, _ = signer(ManualClock()).sign(USER, DEVICE)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims.keys() == {"iss", "aud", "sub", "did", "iat", "exp", "jti"}
    assert jwt.get_unverified_header(token) == {
        "alg": "ES256",
        "typ": "JWT",
        "kid": jwks_of(KEY)["keys"][0]["kid"],
    }


def test_key_id_is_rfc_7638_thumbprint() -> None:
    key = jwks_of(KEY)["keys"][0]
    required = f'{{"crv":"P-256","kty":"EC","x":"{key["x"]}","y":"{key["y"]}"}}'
    digest = urlsafe_b64encode(sha256(required.encode()).digest()).decode()
    assert key["kid"] == digest.rstrip("=")


def test_expired_token_is_refused_by_caching_verifier() -> None:
    clock = ManualClock()
    token, _ = signer(clock).sign(USER, DEVICE)
    gate = verifier(clock)
    clock.advance(599)
    gate.verify(token)
    clock.advance(1)
    assert reason_of(gate, token) == "TOKEN_EXPIRED"


def test_token_of_another_key_issuer_or_audience_is_refused() -> None:
    clock = ManualClock()
    gate = verifier(clock)
    assert reason_of(gate, signer(clock, key=OTHER_KEY).sign(USER, DEVICE)[0]) == "TOKEN_INVALID"
    assert reason_of(gate, signer(clock, issuer="else").sign(USER, DEVICE)[0]) == "TOKEN_INVALID"
    assert reason_of(gate, signer(clock, audience="else").sign(USER, DEVICE)[0]) == "TOKEN_WRONG_AUDIENCE"


@pytest.mark.parametrize("change", ["signature", "payload", "nothing", "words"])
def test_damaged_token_is_refused(change: str) -> None:
    head, payload, signature = signer(ManualClock()).sign(USER, DEVICE)[0].split(".")
    token = {
        "signature": f"{head}.{payload}.{signature[:-4]}AAAA",
        "payload": f"{head}.{payload[:-4]}AAAA.{signature}",
        "nothing": "",
        "words": "a.b.c",
    }[change]
    assert reason_of(verifier(ManualClock()), token) == "TOKEN_INVALID"


def forged(algorithm: str, key: object, **claims: object) -> str:
    payload = {"iss": "parley", "aud": "parley", "sub": USER, "did": DEVICE, "exp": 1_800_000_100, **claims}
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": jwks_of(KEY)["keys"][0]["kid"]})  # type: ignore[arg-type]


def test_unsigned_or_hmac_token_is_refused() -> None:
    public = jwks_of(KEY)["keys"][0]["x"]
    assert reason_of(verifier(ManualClock()), forged("none", None)) == "TOKEN_INVALID"
    assert reason_of(verifier(ManualClock()), forged("HS256", public)) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "claims", [{"sub": "alice"}, {"did": 7}, {"did": DEVICE + "\n"}, {"exp": "soon"}, {"nbf": 1_800_000_099}]
)
def test_signed_token_with_malformed_claims_is_refused(claims: dict[str, object]) -> None:
    assert reason_of(verifier(ManualClock()), forged("ES256", KEY, **claims)) == "TOKEN_INVALID"


def test_both_keys_are_accepted_during_rotation() -> None:
    clock = ManualClock()
    both = {"keys": jwks_of(KEY)["keys"] + jwks_of(OTHER_KEY)["keys"]}
    gate = TokenVerifier(both, issuer="parley", audience="parley", clock=clock)
    for key in (KEY, OTHER_KEY):
        assert gate.verify(signer(clock, key=key).sign(USER, DEVICE)[0]).user_id == USER


def test_bearer_token_is_read_from_metadata() -> None:
    clock = ManualClock()
    token, _ = signer(clock).sign(USER, DEVICE)
    assert verifier(clock).authenticate({"authorization": f"Bearer {token}"}).user_id == USER
    for metadata in ({}, {"authorization": token}, {"authorization": "Bearer "}):
        with pytest.raises(Failure) as refused:
            verifier(clock).authenticate(metadata)
        assert refused.value.reason == "TOKEN_MISSING"


@pytest.mark.parametrize(
    "jwks", ['{"keys": []}', "{}", "[]", "no json", '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}]}']
)
def test_malformed_jwks_is_a_configuration_error(tmp_path: Path, jwks: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(jwks)
    with pytest.raises(ConfigurationError, match="JWKS"):
        TokenVerifier.from_file(path, issuer="parley", audience="parley")


def test_missing_or_malformed_key_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        TokenSigner.from_file(tmp_path / "none", issuer="parley", audience="parley")
    with pytest.raises(ConfigurationError, match="P-256"):
        jwks_of(b"not a key")


def test_service_credential_rotates(tmp_path: Path) -> None:
    path = tmp_path / "credential"
    path.write_text("the new secret of all\n\nthe old secret of all\n")
    new = ServiceCredential.from_file(path)
    old = ServiceCredential("the old secret of all")
    new.check(dict(old.metadata()))
    new.check(dict(new.metadata()))
    with pytest.raises(Failure) as refused:
        old.check(dict(new.metadata()))
    assert refused.value.reason == "TOKEN_INVALID"
    with pytest.raises(Failure) as refused:
        old.check({})
    assert refused.value.reason == "TOKEN_MISSING"


@pytest.mark.parametrize("secrets", [(), ("short",), ("a long secret with \x00 in it",)])
def test_unusable_service_credential_is_refused(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError):
        ServiceCredential(*secrets)

"""Signing keys and their public halves: EC P-256 in PEM, JWKS with RFC 7638 thumbprints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.utils import base64url_encode

from servicekit.config import ConfigurationError

ALGORITHMS = frozenset({"ES256", "EdDSA", "RS256"})


def generate_signing_key() -> bytes:
    """Return a new signing key: EC P-256, PKCS 8, PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def jwks_of(private_key_pem: bytes) -> dict[str, Any]:
    """Return the JWKS with the public half of a signing key. Raise ConfigurationError if the key cannot be used."""
    return {"keys": [jwk_of(signing_key(private_key_pem))]}


def signing_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the private key of a PEM text. Raise ConfigurationError if it is not an unencrypted EC P-256 key."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError("The signing key is not an unencrypted EC P-256 private key in PEM.")
    return key


def jwk_of(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """Return the public half of `key` as a JWK."""
    numbers = key.public_key().public_numbers()
    x, y = (base64url_encode(number.to_bytes(32, "big")).decode() for number in (numbers.x, numbers.y))
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": x,
        "y": y,
        "alg": "ES256",
        "use": "sig",
        "kid": _thumbprint(x, y),
    }


def _thumbprint(x: str, y: str) -> str:
    """Return the RFC 7638 thumbprint: the SHA-256 of the required members, sorted and without spaces."""
    canonical = json.dumps({"crv": "P-256", "kty": "EC", "x": x, "y": y}, separators=(",", ":"))
    return base64url_encode(sha256(canonical.encode()).digest()).decode()


def public_keys(jwks: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """Return the asymmetric keys of a JWKS by key id. Raise ConfigurationError if there are none."""
    try:
        keys = [jwt.PyJWK.from_dict(jwk) for jwk in jwks["keys"]]
    except (jwt.PyJWTError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"The JWKS cannot be used: {error}.") from None
    # A symmetric key would let every verifier also sign tokens.
    usable = {key.key_id or "": key for key in keys if key.algorithm_name in ALGORITHMS}
    if not usable:
        raise ConfigurationError(f"The JWKS holds no key for {', '.join(sorted(ALGORITHMS))}.")
    return usable

"""Encryption to a device: the example of RFC 8291, the other implementation of it, padding, and bounds."""

from __future__ import annotations

from typing import Final

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from notify_service.encryption import (
    MAX_CONTENT_BYTES,
    OVERHEAD_BYTES,
    PADDING_STEP_BYTES,
    encrypt,
    padded_length,
    validate_key,
)
from notify_service.model.push import EncryptionKey
from tests.push_servers.web_push import DeviceKey, decode_base64url

# RFC 8291, section 5 and appendix A.
PLAINTEXT: Final = b"When I grow up, I want to be a watermelon"
SENDER_PRIVATE: Final = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
DEVICE_PRIVATE: Final = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
DEVICE_PUBLIC: Final = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH_SECRET: Final = "BTBZMqHH6r4Tts7J_aSIgg"
SALT: Final = "DGv6ra1nlYgDCS1FRnbzlw"
ENCRYPTED: Final = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
DEVICE: Final = DeviceKey.generate()


def private_key(text: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(decode_base64url(text), "big"), ec.SECP256R1())


def test_example_of_the_rfc_is_encrypted_to_its_bytes() -> None:
    key = EncryptionKey(decode_base64url(DEVICE_PUBLIC), decode_base64url(AUTH_SECRET))
    encrypted = encrypt(PLAINTEXT, key, sender_key=private_key(SENDER_PRIVATE), salt=decode_base64url(SALT))
    assert encrypted == decode_base64url(ENCRYPTED)


def test_other_implementation_decrypts_the_example_of_the_rfc() -> None:
    """The tests of the providers rely on it."""
    decrypted = http_ece.decrypt(
        decode_base64url(ENCRYPTED),
        private_key=private_key(DEVICE_PRIVATE),
        auth_secret=decode_base64url(AUTH_SECRET),
        version="aes128gcm",
    )
    assert decrypted == PLAINTEXT


@given(content=st.binary(max_size=MAX_CONTENT_BYTES), length=st.integers(0, MAX_CONTENT_BYTES))
def test_any_content_is_decrypted_without_its_padding(content: bytes, length: int) -> None:
    encrypted = encrypt(content, DEVICE.registered, length=length)
    assert len(encrypted) == max(len(content), length) + OVERHEAD_BYTES <= 4096
    assert DEVICE.decrypt(encrypted) == content


def test_same_content_is_never_encrypted_to_the_same_bytes() -> None:
    first, second = (encrypt(b"text", DEVICE.registered) for _ in range(2))
    # The salts, and the keys of the sender.
    assert first[:16] != second[:16]
    assert first[21:86] != second[21:86]


def test_another_device_cannot_decrypt() -> None:
    encrypted = encrypt(b"text", DEVICE.registered)
    with pytest.raises(http_ece.ECEException):
        DeviceKey.generate().decrypt(encrypted)


@pytest.mark.parametrize(("content", "length"), [(MAX_CONTENT_BYTES + 1, 0), (0, MAX_CONTENT_BYTES + 1)])
def test_content_that_push_services_may_refuse_is_not_encrypted(content: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"has 3994 bytes; the limit is 3993"):
        encrypt(bytes(content), DEVICE.registered, length=length)


@given(length=st.integers(0, 2000))
def test_length_is_padded_to_the_next_step(length: int) -> None:
    padded = padded_length(length)
    assert padded % PADDING_STEP_BYTES == 0
    assert 0 <= padded - length <= PADDING_STEP_BYTES


def test_padding_ends_at_the_limit() -> None:
    assert padded_length(3841) == MAX_CONTENT_BYTES
    assert padded_length(1000, limit=1010) == 1010
    with pytest.raises(ValueError, match="has 1011 bytes; the limit is 1010"):
        padded_length(1011, limit=1010)


def test_key_that_is_no_point_on_the_curve_is_refused() -> None:
    key = EncryptionKey(b"\x04" + bytes(64), bytes(16))
    for use in (validate_key, lambda key: encrypt(b"text", key)):
        with pytest.raises(ValueError, match=r"(?i)invalid|not on the curve"):
            use(key)
    validate_key(DEVICE.registered)


@pytest.mark.parametrize(
    ("public_key", "auth_secret"),
    [
        (DEVICE.registered.public_key[:64], bytes(16)),
        (b"\x02" + DEVICE.registered.public_key[1:], bytes(16)),
        (DEVICE.registered.public_key, bytes(15)),
    ],
    ids=["short", "compressed", "secret"],
)
def test_key_of_another_form_is_refused(public_key: bytes, auth_secret: bytes) -> None:
    with pytest.raises(ValueError, match="must"):
        EncryptionKey(public_key, auth_secret)

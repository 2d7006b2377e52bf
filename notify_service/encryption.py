"""Encryption of content to a device: Message Encryption for Web Push (RFC 8291) with the coding `aes128gcm` (RFC 8188).

    salt (16) | record size (4) | key id length (1) | public key of the sender (65) | one encrypted record

The record is the content, the delimiter 2, and zeros as padding. Every message has a salt and a sender's key of its
own.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from notify_service.model.push import EncryptionKey

SALT_BYTES: Final = 16
# A push service accepts at least 4,096 bytes (RFC 8030, section 7.2); the record has at most that many (RFC 8291,
# section 4).
RECORD_BYTES: Final = 4096
_HEADER_BYTES: Final = SALT_BYTES + 4 + 1 + 65
_TAG_BYTES: Final = 16
_LAST_RECORD: Final = b"\x02"

OVERHEAD_BYTES: Final = _HEADER_BYTES + len(_LAST_RECORD) + _TAG_BYTES
"""The size of an encrypted content minus that of the content and its padding."""
MAX_CONTENT_BYTES: Final = RECORD_BYTES - OVERHEAD_BYTES
"""The longest content whose encryption every push service accepts: 3,993 bytes."""
PADDING_STEP_BYTES: Final = 256
"""Content is padded to a multiple of this, so that its size tells little about the text."""


def padded_length(length: int, limit: int = MAX_CONTENT_BYTES) -> int:
    """Return the next multiple of PADDING_STEP_BYTES, at most `limit`. Raise ValueError if `length` exceeds it."""
    if length > limit:
        raise ValueError(f"the content has {length} bytes; the limit is {limit}")
    return min(-(-max(length, 1) // PADDING_STEP_BYTES) * PADDING_STEP_BYTES, limit)


def encrypt(
    content: bytes,
    key: EncryptionKey,
    *,
    length: int = 0,
    sender_key: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Return `content`, padded to `length` bytes, encrypted to the device that has the private half of `key`.

    `sender_key` and `salt` are new random ones unless given; giving them twice breaks the encryption. Raise ValueError
    if `key` is no point on P-256, or if the content has more than MAX_CONTENT_BYTES.
    """
    if max(len(content), length) > MAX_CONTENT_BYTES:
        raise ValueError(f"the content has {max(len(content), length)} bytes; the limit is {MAX_CONTENT_BYTES}")
    sender = ec.generate_private_key(ec.SECP256R1()) if sender_key is None else sender_key
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    sender_public = sender.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    content_key, nonce = _derive(_shared_secret(sender, sender_public, key), salt)
    record = content + _LAST_RECORD + bytes(max(length - len(content), 0))
    header = salt + struct.pack("!LB", RECORD_BYTES, len(sender_public)) + sender_public
    return header + AESGCM(content_key).encrypt(nonce, record, None)


def validate_key(key: EncryptionKey) -> None:
    """Raise ValueError if the public key is no point on P-256."""
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.public_key)


def _shared_secret(sender: ec.EllipticCurvePrivateKey, sender_public: bytes, key: EncryptionKey) -> bytes:
    """Return the input keying material (RFC 8291, section 3.4)."""
    device = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.public_key)
    info = b"WebPush: info\x00" + key.public_key + sender_public
    return _hkdf(key.auth_secret, sender.exchange(ec.ECDH(), device), info, 32)


def _derive(secret: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Return the content encryption key and the nonce of the first record (RFC 8188, sections 2.2 and 2.3)."""
    content_key = _hkdf(salt, secret, b"Content-Encoding: aes128gcm\x00", 16)
    return content_key, _hkdf(salt, secret, b"Content-Encoding: nonce\x00", 12)


def _hkdf(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(material)

"""A push service of browsers: it checks requests by RFC 8030, 8291 and 8292, and decrypts them with http_ece."""

from __future__ import annotations

import json
import re
import ssl
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from typing import Any, Final

import http_ece
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from notify_service.model.push import EncryptionKey, WebPushSubscription
from servicekit.clock import Clock
from tests.push_servers.http2_server import Answer, Http2Server, Request

MAX_BODY_BYTES: Final = 4096
_VAPID: Final = re.compile(r"vapid t=([\w.-]+), k=([\w-]+)")


@dataclass(frozen=True)
class DeviceKey:
    """A device's key for encrypted content: the private half, and what the device registers."""

    private_key: ec.EllipticCurvePrivateKey
    registered: EncryptionKey

    @classmethod
    def generate(cls, auth_secret: bytes = bytes(range(16))) -> DeviceKey:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return cls(key, EncryptionKey(public, auth_secret))

    def decrypt(self, encrypted: bytes) -> bytes:
        """Return the content, decrypted by the other implementation of RFC 8291."""
        content = http_ece.decrypt(
            encrypted,
            private_key=self.private_key,
            auth_secret=self.registered.auth_secret,
            version="aes128gcm",
        )
        assert isinstance(content, bytes)
        return content

    def open(self, sealed: str) -> dict[str, Any]:
        """Return the JSON object of content in base64url."""
        document = json.loads(self.decrypt(decode_base64url(sealed)))
        assert isinstance(document, dict)
        return document


class WebPushServer(Http2Server):
    """Has the subscriptions made by `subscribe`. `shown` is the content that each has, by topic."""

    def __init__(self, context: ssl.SSLContext, application_key: bytes, clock: Clock) -> None:
        super().__init__(context, self._push)
        self.shown: dict[tuple[str, str], dict[str, Any]] = {}
        self._keys: dict[str, DeviceKey] = {}
        self._application_key = application_key
        self._clock = clock

    def subscribe(self, name: str) -> WebPushSubscription:
        """Return a new subscription, restricted to the application key (RFC 8292, section 4)."""
        key = self._keys[name] = DeviceKey.generate()
        return WebPushSubscription(f"{self.url}/push/{name}", key.registered)

    def _push(self, request: Request) -> Answer:
        name = request.path.removeprefix("/push/")
        if name not in self._keys:
            return Answer(404)
        if not self._is_identified(request):
            return Answer(403)
        if len(request.body) > MAX_BODY_BYTES:
            return Answer(413)
        headers = request.headers
        assert (request.method, headers["content-encoding"]) == ("POST", "aes128gcm")
        assert re.fullmatch(r"\d{1,10}", headers["ttl"])
        assert headers["urgency"] in ("very-low", "low", "normal", "high")
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", headers["topic"])
        self.shown[name, headers["topic"]] = json.loads(self._keys[name].decrypt(request.body))
        return Answer(201, headers={"location": f"{self.url}/message/{len(self.requests)}", "ttl": headers["ttl"]})

    def _is_identified(self, request: Request) -> bool:
        match = _VAPID.fullmatch(request.headers.get("authorization", ""))
        if match is None or decode_base64url(match[2]) != self._application_key:
            return False
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), self._application_key)
        options: Any = {"verify_exp": False}
        claims = jwt.decode(match[1], key, ["ES256"], options, audience=self.url)
        now_s = self._clock.now_ms() / 1000
        assert claims["sub"].startswith(("mailto:", "https://"))
        return bool(now_s < claims["exp"] <= now_s + 24 * 3600)


def decode_base64url(text: str) -> bytes:
    """Return the bytes of base64url without padding."""
    assert "=" not in text
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))

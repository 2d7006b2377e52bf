"""A server that checks requests as APNs does (Apple, “Sending notification requests to APNs”)."""

from __future__ import annotations

import json
import re
import ssl
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from servicekit.clock import Clock
from tests.push_servers.http2_server import Answer, Http2Server, Request

TOPIC: Final = "org.example.app"
KEY_ID: Final = "ABCDE12345"
TEAM_ID: Final = "TEAM123456"
ALLOWED_HEADERS: Final = {
    "apns-topic", "apns-push-type", "apns-priority", "apns-expiration", "apns-collapse-id", "apns-id", "authorization",
    "content-type", "content-length", "accept", "accept-encoding", "user-agent",
}  # fmt: skip


class ApnsServer(Http2Server):
    """Has the devices `devices`, by token: the topic of the app. `unregistered` are tokens with the time of their end.

    `shown` is what each device shows, by collapse id; `payloads` are all payloads that were accepted.
    """

    def __init__(self, context: ssl.SSLContext, public_key: ec.EllipticCurvePublicKey, clock: Clock) -> None:
        # A connection has one stream until its first push with a valid token.
        super().__init__(context, self._push, max_streams=1)
        self.devices: dict[str, str] = {}
        self.unregistered: dict[str, int] = {}
        self.shown: dict[tuple[str, str], dict[str, Any]] = {}
        self.payloads: list[dict[str, Any]] = []
        self.provider_tokens: dict[int, list[str]] = {}
        self._public_key = public_key
        self._clock = clock

    def _push(self, request: Request) -> Answer:
        refusal = self._refuse_path(request) or self._refuse_token(request) or self._refuse_headers(request)
        if refusal is not None:
            return refusal
        self.set_max_streams(1000)
        token = request.path.rpartition("/")[2]
        if refusal := self._refuse_payload(request) or self._refuse_device(token, request.headers["apns-topic"]):
            return refusal
        payload = request.document()
        self.payloads.append(payload)
        self.shown[token, request.headers["apns-collapse-id"]] = payload
        return Answer(200, headers={"apns-id": request.headers["apns-id"]})

    def _refuse_path(self, request: Request) -> Answer | None:
        if request.method != "POST":
            return _refuse(405, "MethodNotAllowed")
        if re.fullmatch(r"/3/device/[0-9a-f]+", request.path) is None:
            return _refuse(404, "BadPath")
        if len(set(request.header_names)) != len(request.header_names):
            return _refuse(400, "DuplicateHeaders")
        return None

    def _refuse_token(self, request: Request) -> Answer | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "bearer" or not token:
            return _refuse(403, "MissingProviderToken")
        try:
            header = jwt.get_unverified_header(token)
            options: Any = {"verify_iat": False}
            claims = jwt.decode(token, self._public_key, algorithms=["ES256"], options=options)
        except jwt.InvalidTokenError:
            return _refuse(403, "InvalidProviderToken")
        if header.get("kid") != KEY_ID or claims.keys() != {"iss", "iat"} or claims["iss"] != TEAM_ID:
            return _refuse(403, "InvalidProviderToken")
        age_s = self._clock.now_ms() // 1000 - claims["iat"]
        if not 0 <= age_s < 3600:
            return _refuse(403, "ExpiredProviderToken")
        return self._refuse_update(request.connection, token)

    def _refuse_update(self, connection: int, token: str) -> Answer | None:
        """Refuse a token that was signed less than 20 minutes after the one before it on the connection."""
        tokens = self.provider_tokens.setdefault(connection, [])
        if token not in tokens:
            issued = [jwt.decode(each, options={"verify_signature": False})["iat"] for each in (*tokens[-1:], token)]
            if len(issued) == 2 and issued[1] - issued[0] < 20 * 60:
                return _refuse(429, "TooManyProviderTokenUpdates")
            tokens.append(token)
        return None

    def _refuse_headers(self, request: Request) -> Answer | None:
        headers = request.headers
        unknown = headers.keys() - ALLOWED_HEADERS
        assert not unknown, f"APNs knows no headers {unknown}"
        checks = {
            "MissingTopic": "apns-topic" in headers,
            "TopicDisallowed": headers.get("apns-topic") == TOPIC,
            "InvalidPushType": headers.get("apns-push-type") in ("alert", "background"),
            "BadPriority": headers.get("apns-priority") in ("5", "10")
            and (headers["apns-push-type"], headers["apns-priority"]) != ("background", "10"),
            "BadExpirationDate": headers.get("apns-expiration", "0").isdigit(),
            "BadCollapseId": 1 <= len(headers.get("apns-collapse-id", "").encode()) <= 64,
            "BadMessageId": _is_canonical_uuid(headers.get("apns-id", "")),
        }
        return next((_refuse(400, reason) for reason, valid in checks.items() if not valid), None)

    def _refuse_payload(self, request: Request) -> Answer | None:
        if len(request.body) > 4096:
            return _refuse(413, "PayloadTooLarge")
        if not request.body:
            return _refuse(400, "PayloadEmpty")
        aps = json.loads(request.body.decode("utf-8"))["aps"]
        if request.headers["apns-push-type"] == "background":
            assert aps == {"content-available": 1}, "a background push has content-available alone"
        else:
            assert aps["alert"]
            assert "content-available" not in aps
            assert aps.get("mutable-content", 1) == 1
        return None

    def _refuse_device(self, token: str, topic: str) -> Answer | None:
        if token in self.unregistered:
            return Answer.json(410, {"reason": "Unregistered", "timestamp": self.unregistered[token]})
        if token not in self.devices:
            return _refuse(400, "BadDeviceToken")
        return None if self.devices[token] == topic else _refuse(400, "DeviceTokenNotForTopic")


def _is_canonical_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _refuse(status: int, reason: str) -> Answer:
    return Answer.json(status, {"reason": reason})

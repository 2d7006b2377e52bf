"""A server that checks requests as Google's token endpoint and FCM do.

Sources: Google, “Using OAuth 2.0 for Server to Server Applications”; “REST Resource: projects.messages”.
"""

from __future__ import annotations

import json
import re
import ssl
from typing import Any, Final
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from servicekit.clock import Clock
from tests.push_servers.http2_server import Answer, Http2Server, Request

PROJECT: Final = "example-project"
EMAIL: Final = f"push@{PROJECT}.iam.gserviceaccount.com"
KEY_ID: Final = "0123456789abcdef"
SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"
# The fields that Parley uses, with those of the resource that they are a part of.
FIELDS: Final[dict[str, set[str]]] = {
    "message": {"token", "data", "notification", "android", "apns", "webpush", "fcm_options"},
    "notification": {"title", "body", "image"},
    "android": {"collapse_key", "priority", "ttl", "restricted_package_name", "data", "notification"},
    "android.notification": {"title", "body", "icon", "color", "sound", "tag", "channel_id", "notification_priority"},
    "apns": {"headers", "payload", "fcm_options"},
}


class FcmServer(Http2Server):
    """Has the devices `devices`. `messages` are those that were accepted; `tokens_issued` counts the access tokens."""

    def __init__(self, context: ssl.SSLContext, account_key: rsa.RSAPrivateKey, clock: Clock) -> None:
        super().__init__(context, self._route)
        self.devices: set[str] = set()
        self.messages: list[dict[str, Any]] = []
        self.tokens_issued = 0
        # By access token: its end on the clock.
        self.access_tokens: dict[str, float] = {}
        self._account_key = account_key
        self._clock = clock

    def account_file(self) -> bytes:
        """Return the JSON file of the service account."""
        pem = self._account_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        document = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": KEY_ID,
            "private_key": pem.decode(),
            "client_email": EMAIL,
            "token_uri": f"{self.url}/token",
        }
        return json.dumps(document).encode()

    def sends(self) -> list[Request]:
        """Return the requests that were no requests of tokens."""
        return [request for request in self.requests if request.path != "/token"]

    def _route(self, request: Request) -> Answer:
        assert request.method == "POST"
        return self._issue(request) if request.path == "/token" else self._send(request)

    def _issue(self, request: Request) -> Answer:
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        form = parse_qs(request.body.decode(), strict_parsing=True)
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        [assertion] = form["assertion"]
        assert jwt.get_unverified_header(assertion)["kid"] == KEY_ID
        options: Any = {"verify_exp": False, "verify_iat": False}
        public = self._account_key.public_key()
        try:
            claims = jwt.decode(assertion, public, ["RS256"], options, audience=f"{self.url}/token")
        except jwt.InvalidTokenError:
            return Answer.json(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        now_s = self._clock.now_ms() // 1000
        assert (claims["iss"], claims["scope"]) == (EMAIL, SCOPE)
        if not now_s - 60 <= claims["iat"] <= now_s + 60 or not 0 < claims["exp"] - claims["iat"] <= 3600:
            return Answer.json(400, {"error": "invalid_grant", "error_description": "Invalid JWT: …"})
        self.tokens_issued += 1
        token = f"access-{self.tokens_issued}"
        self.access_tokens[token] = self._clock.monotonic() + 3599
        return Answer.json(200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"})

    def _send(self, request: Request) -> Answer:
        if request.path != f"/v1/projects/{PROJECT}/messages:send":
            return Answer(404, b"<html>not found</html>", {"content-type": "text/html"})
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or self.access_tokens.get(token, 0) <= self._clock.monotonic():
            return fcm_error(401, "UNAUTHENTICATED")
        document = request.document()
        assert document.keys() <= {"message", "validate_only"}
        message = document["message"]
        _check_shape(message)
        if message["token"] == "probe":
            return fcm_error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "not a valid FCM registration token")
        if message["token"] not in self.devices:
            return fcm_error(404, "NOT_FOUND", "UNREGISTERED")
        self.messages.append(message)
        return Answer.json(200, {"name": f"projects/{PROJECT}/messages/{len(self.messages)}"})


def fcm_error(
    status: int, code: str, fcm_code: str = "", message: str = "…", field: str = "", **headers: str
) -> Answer:
    """Return an error of FCM, with its own code and the violation of a field if they are given."""
    details: list[dict[str, object]] = []
    if fcm_code:
        details.append({"@type": FCM_ERROR, "errorCode": fcm_code})
    if field:
        details.append({"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": "…"}]})
    error = {"code": status, "message": message, "status": code, "details": details}
    return Answer.json(status, {"error": error}, **headers)


def _check_shape(message: dict[str, Any]) -> None:
    """Fail for a message that FCM would call invalid."""
    android, apns, data = message.get("android", {}), message.get("apns", {}), message.get("data", {})
    parts = {
        "message": message,
        "notification": message.get("notification", {}),
        "android": android,
        "android.notification": android.get("notification", {}),
        "apns": apns,
    }
    for name, part in parts.items():
        assert part.keys() <= FIELDS[name], name
    for key, value in data.items():
        assert isinstance(value, str), key
        assert re.fullmatch("(?!google|gcm|from$|message_type$).+", key)
    shown = "".join(message.get("notification", {}).values())
    assert sum(len(text.encode()) for item in data.items() for text in item) + len(shown.encode()) <= 4096
    assert android["priority"] in ("NORMAL", "HIGH")
    assert re.fullmatch(r"\d+s", android["ttl"])
    assert int(android["ttl"][:-1]) <= 2_419_200
    assert all(isinstance(value, str) for value in apns["headers"].values())
    # A message for iOS with data alone must have priority 5.
    if apns["payload"]["aps"] == {"content-available": 1}:
        assert apns["headers"]["apns-priority"] == "5"
    # FCM makes one payload for Apple of all parts.
    assert len(json.dumps(apns["payload"] | data, ensure_ascii=False).encode()) + len(shown.encode()) <= 4096

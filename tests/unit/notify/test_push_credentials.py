"""Credentials that cannot be used are named in a sentence, with the way to mend them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from notify_service.providers.apns import ApnsProvider
from notify_service.providers.apns_token import ApnsKey
from notify_service.providers.client import PushClient
from notify_service.providers.service_account import ServiceAccount
from notify_service.providers.vapid import VapidKey
from servicekit.config import ConfigurationError
from servicekit.keys import generate_signing_key, signing_key
from tests.clock import ManualClock

RSA_PEM: Final = (
    rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)
ACCOUNT: Final = {
    "type": "service_account",
    "project_id": "project",
    "private_key_id": "key",
    "private_key": RSA_PEM,
    "client_email": "push@project.iam.gserviceaccount.com",
    "token_uri": "https://oauth2.googleapis.com/token",
}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        call()
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "credentials"


def test_service_account_is_read(file: Path) -> None:
    file.write_text(json.dumps(ACCOUNT))
    account = ServiceAccount.from_file(file)
    assert (account.project_id, account.email, account.key_id) == ("project", ACCOUNT["client_email"], "key")
    assert "PRIVATE KEY" not in repr(account)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON", "is not the JSON file of a service account: Expecting value"),
        ("[]", 'it has no "type": "service_account"'),
        (json.dumps({"type": "authorized_user"}), 'it has no "type": "service_account"'),
        (json.dumps({**ACCOUNT, "client_email": ""}), 'it has no "client_email"'),
        (json.dumps({**ACCOUNT, "private_key": "PEM"}), 'its "private_key" is not an RSA key in PEM'),
        (json.dumps({**ACCOUNT, "private_key": generate_signing_key().decode()}), "is not an RSA key in PEM"),
        (json.dumps({**ACCOUNT, "token_uri": "http://internal/"}), 'its "token_uri" does not begin with https://'),
    ],
)
def test_service_account_that_cannot_be_used_is_named(text: str, message: str, file: Path) -> None:
    file.write_text(text)
    named = refusal(lambda: ServiceAccount.from_file(file))
    assert message in named
    assert str(file) in named
    assert "Create a key in the Firebase console" in named


def test_missing_service_account_is_named(file: Path) -> None:
    named = refusal(lambda: ServiceAccount.from_file(file))
    assert f"Cannot read the JSON file of a service account from {file}: No such file" in named


def test_apns_key_is_read(file: Path) -> None:
    file.write_bytes(generate_signing_key())
    assert ApnsKey.from_file(file, "ABCDE12345", "TEAM123456").key_id == "ABCDE12345"


@pytest.mark.parametrize("pem", [b"", RSA_PEM.encode()], ids=["empty", "RSA"])
def test_apns_key_that_cannot_be_used_is_named(pem: bytes, file: Path) -> None:
    file.write_bytes(pem)
    named = refusal(lambda: ApnsKey.from_file(file, "ABCDE12345", "TEAM123456"))
    assert f"The APNs key in {file} cannot be used" in named
    assert "Create a key for the Apple Push Notifications service" in named


@pytest.mark.parametrize(
    ("key_id", "team_id", "name"), [("short", "TEAM123456", "key"), ("ABCDE12345", "TEAM 12345", "team")]
)
def test_wrong_id_of_apns_is_named(key_id: str, team_id: str, name: str, file: Path) -> None:
    named = refusal(lambda: ApnsKey.from_file(file, key_id, team_id))
    assert f"The {name} id of APNs" in named


async def test_apns_needs_a_topic() -> None:
    key, clock = ApnsKey(signing_key(generate_signing_key()), "ABCDE12345", "TEAM123456"), ManualClock()
    client = PushClient(clock)
    assert "name at least one" in refusal(lambda: ApnsProvider(client, key, [], clock))
    await client.close()


@pytest.mark.parametrize("subject", ["mailto:push@example.org", "https://example.org/contact"])
def test_vapid_key_is_read(subject: str, file: Path) -> None:
    file.write_bytes(generate_signing_key())
    key = VapidKey.from_file(file, subject)
    assert len(key.public_key) == 65
    assert key.public_key[0] == 4


@pytest.mark.parametrize("subject", ["", "push@example.org", "mailto:", "http://example.org", "https:"])
def test_wrong_contact_of_web_push_is_named(subject: str, file: Path) -> None:
    file.write_bytes(generate_signing_key())
    assert "must be an address that begins with mailto: or https://" in refusal(
        lambda: VapidKey.from_file(file, subject)
    )


def test_vapid_key_that_cannot_be_used_is_named(file: Path) -> None:
    file.write_text(RSA_PEM)
    named = refusal(lambda: VapidKey.from_file(file, "mailto:push@example.org"))
    assert f"The key for Web Push in {file} cannot be used" in named
    assert "openssl ecparam" in named


def test_file_of_authorities_that_cannot_be_used_is_named(file: Path) -> None:
    file.write_text("no certificate")
    assert f"The file of authorities {file} cannot be used" in refusal(lambda: PushClient(ManualClock(), ca_file=file))

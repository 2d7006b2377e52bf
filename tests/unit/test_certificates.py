"""A certificate is used only if it fits its key, its holder, its authority and the time; its files may be replaced."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from devstack.certificates import Authority, replace_together, sign_authority
from servicekit.certificates import CertificateFiles, CertificateWatcher, Identity, read_certificate
from servicekit.config import ConfigurationError
from servicekit.settings import TlsSettings
from tests.clock import ManualClock

CHAT = Identity("parley", "chat")
YEAR_S = 365 * 24 * 3600


class Folder:
    """The files of a certificate for chat, which an authority of the test has issued."""

    def __init__(self, path: Path) -> None:
        self.authority = Authority.create()
        self.files = CertificateFiles(path / "tls.crt", path / "tls.key", path / "ca.crt")
        self.issue()

    def issue(self) -> None:
        """Write a new certificate, its key and the authority."""
        certificate, key = self.authority.issue([CHAT.dns_name, "127.0.0.1"], CHAT.spiffe_id)
        self.write(certificate=certificate, key=key, authorities=self.authority.pem)

    def write(self, **contents: bytes) -> None:
        for name, content in contents.items():
            path: Path = getattr(self.files, name)
            path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_certificate_of_the_identity_is_read(folder: Folder) -> None:
    certificate = read_certificate(folder.files, CHAT, time.time())
    assert certificate.key == folder.files.key.read_bytes()
    assert YEAR_S - 7200 < certificate.expires_at - time.time() <= YEAR_S
    assert "PRIVATE" not in repr(certificate)


def refusal(folder: Folder, identity: Identity = CHAT, seconds_from_now: float = 0) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read_certificate(folder.files, identity, time.time() + seconds_from_now)
    return str(refused.value)


def test_unreadable_files_are_refused(folder: Folder) -> None:
    folder.write(certificate=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert "is not a certificate in PEM" in refusal(folder)
    folder.issue()
    folder.write(key=b"")
    assert "is not a private key in PEM" in refusal(folder)
    folder.issue()
    folder.write(authorities=b"nothing\n")
    assert "is not certificates in PEM" in refusal(folder)
    folder.files.key.unlink()
    folder.write(authorities=folder.authority.pem)
    assert "Cannot read a private key in PEM" in refusal(folder)


def test_encrypted_key_is_refused(folder: Folder) -> None:
    key = load_pem_private_key(folder.files.key.read_bytes(), password=None)
    folder.write(key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    assert refusal(folder).endswith("is not a private key in PEM: it is encrypted.")


def test_key_of_another_certificate_is_refused(folder: Folder) -> None:
    folder.write(key=folder.authority.issue([CHAT.dns_name], CHAT.spiffe_id)[1])
    assert "is not that of the certificate" in refusal(folder)


def test_certificate_of_another_service_or_domain_is_refused(folder: Folder) -> None:
    assert "spiffe://parley/media; it has spiffe://parley/chat" in refusal(folder, Identity("parley", "media"))
    assert "spiffe://staging/chat; it has spiffe://parley/chat" in refusal(folder, Identity("staging", "chat"))
    certificate, key = folder.authority.issue(["chat"], CHAT.spiffe_id)
    folder.write(certificate=certificate, key=key)
    assert "must have chat.parley among" in refusal(folder)
    certificate, key = folder.authority.issue([CHAT.dns_name])
    folder.write(certificate=certificate, key=key)
    assert "spiffe://parley/chat; it has none" in refusal(folder)


def test_certificate_is_refused_outside_its_time(folder: Folder) -> None:
    assert "which is not now" in refusal(folder, seconds_from_now=-7200)
    assert "which is not now" in refusal(folder, seconds_from_now=YEAR_S)


def test_certificate_of_another_authority_is_refused(folder: Folder) -> None:
    folder.write(authorities=Authority.create().pem)
    assert "is not signed by an authority" in refusal(folder)
    folder.write(authorities=Authority.create().pem + folder.authority.pem)
    read_certificate(folder.files, CHAT, time.time())


def test_certificate_below_an_intermediate_one_is_accepted(folder: Folder) -> None:
    root = Authority.create()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "intermediate")])
    intermediate = Authority(sign_authority(name, key, root._certificate.subject, root._key), key)
    certificate, key_pem = intermediate.issue([CHAT.dns_name], CHAT.spiffe_id)
    folder.write(certificate=certificate, key=key_pem, authorities=root.pem)
    assert "is not signed by an authority" in refusal(folder)
    folder.write(certificate=certificate + intermediate.pem)
    read_certificate(folder.files, CHAT, time.time())


def test_part_of_the_files_is_refused() -> None:
    assert TlsSettings.load().certificate_files is None
    with pytest.raises(ConfigurationError, match="belong together: set all of them, or none"):
        TlsSettings.load(tls_certificate_file=Path("a"), tls_ca_file=Path("b"))
    with pytest.raises(ConfigurationError, match="PARLEY_TLS_TRUST_DOMAIN"):
        TlsSettings.load(tls_trust_domain="spiffe://parley")


@pytest.fixture
def watcher(folder: Folder) -> CertificateWatcher:
    return CertificateWatcher(folder.files, CHAT, ManualClock(round(time.time() * 1000)))


def test_replaced_files_are_used_once_they_are_at_rest(folder: Folder, watcher: CertificateWatcher) -> None:
    renewals: list[bytes] = []
    watcher.subscribe(lambda: renewals.append(watcher.current.chain))
    first = watcher.current
    folder.issue()
    watcher.poll()
    assert watcher.current is first
    folder.issue()
    watcher.poll()
    assert watcher.current is first
    watcher.poll()
    watcher.poll()
    assert renewals == [folder.files.certificate.read_bytes()]


def test_links_into_a_replaced_folder_are_followed(tmp_path: Path) -> None:
    authority = Authority.create()

    def replace() -> bytes:
        certificate, key = authority.issue([CHAT.dns_name], CHAT.spiffe_id)
        replace_together(tmp_path, {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.pem})
        return certificate

    replace()
    files = CertificateFiles(tmp_path / "tls.crt", tmp_path / "tls.key", tmp_path / "ca.crt")
    watcher = CertificateWatcher(files, CHAT, ManualClock(round(time.time() * 1000)))
    renewed = replace()
    watcher.poll()
    watcher.poll()
    assert watcher.current.chain == renewed


def test_unusable_files_keep_the_last_good_certificate(folder: Folder, watcher: CertificateWatcher) -> None:
    def counted(outcome: str) -> float:
        return REGISTRY.get_sample_value("parley_tls_certificate_reloads_total", {"outcome": outcome}) or 0

    first, refused, used = watcher.current, counted("refused"), counted("used")
    certificate, key = folder.authority.issue([CHAT.dns_name], CHAT.spiffe_id)
    with capture_logs() as logged:
        folder.write(certificate=certificate)
        folder.files.key.unlink()
        for _ in range(3):
            watcher.poll()
        folder.write(key=key[:100])
        for _ in range(3):
            watcher.poll()
        assert watcher.current is first
        folder.write(key=key)
        for _ in range(3):
            watcher.poll()
    assert watcher.current.chain == certificate
    warnings = [each["error"] for each in logged if each["log_level"] == "warning"]
    assert [text.split(" from ")[0].partition(": ")[0].replace(str(folder.files.key), "KEY") for text in warnings] == [
        "Cannot read a private key in PEM",
        "KEY is not a private key in PEM",
    ]
    assert (counted("refused") - refused, counted("used") - used) == (2, 1)


def test_expiry_is_exported(watcher: CertificateWatcher) -> None:
    exported = REGISTRY.get_sample_value(
        "parley_tls_certificate_expiry_timestamp_seconds", {"identity": "spiffe://parley/chat"}
    )
    assert exported == watcher.current.expires_at

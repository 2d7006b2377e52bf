"""The S3 store over TLS: its certificate is verified by the file of authorities in the settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from devstack.managed_process import ManagedProcess
from devstack.ports import LOOPBACK, PortBlock
from devstack.s3 import generate_identities, read_keys
from devstack.servers.seaweedfs import seaweedfs_spec
from media_service.settings import S3Settings
from media_service.storage.s3 import S3ObjectStore
from servicekit.clock import SystemClock
from servicekit.errors import StoreUnavailable

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Settings]:
    """Yield the settings of a SeaweedFS that listens with TLS too, on the first port of its block."""
    folder, block = tmp_path_factory.mktemp("seaweedfs"), PortBlock()
    identities, certificate, key = folder / "s3.json", folder / "certificate.pem", folder / "key.pem"
    identities.write_bytes(generate_identities())
    write_certificate(certificate, key)
    spec = seaweedfs_spec(folder / "data", folder / "log", block.ports.seaweedfs, identities)
    port = block.ports.base
    tls = (f"-s3.port.https={port}", f"-s3.cert.file={certificate}", f"-s3.key.file={key}")
    process = ManagedProcess(replace(spec, command=(*spec.command, *tls)))
    process.start()
    try:
        process.wait_healthy()
        keys = read_keys(identities)
        yield S3Settings(
            s3_url=f"https://{LOOPBACK}:{port}",
            s3_access_key=keys.access_key,
            s3_secret_key=SecretStr(keys.secret_key),
            s3_ca_file=certificate,
        )
    finally:
        process.terminate(5)
        block.release()


def write_certificate(certificate: Path, key: Path) -> None:
    """Write a certificate for 127.0.0.1 that signs itself, and its key."""
    private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "seaweedfs")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=False)
        .sign(private_key, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


async def test_known_authority_is_accepted(settings: S3Settings) -> None:
    store = S3ObjectStore(settings, SystemClock())
    await store.prepare()
    assert await store.size_of("key") is None
    await store.close()


async def test_unknown_authority_makes_the_store_unavailable(settings: S3Settings) -> None:
    store = S3ObjectStore(settings.model_copy(update={"s3_ca_file": None}), SystemClock())
    with pytest.raises(StoreUnavailable):
        await store.prepare()
    await store.close()

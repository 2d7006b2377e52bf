"""The certificates of a stack with TLS: its authority, and what it issues to the services, Envoy and operators.

Each holder has a folder with `tls.crt`, `tls.key` and `ca.crt`, as a secret of cert-manager has in Kubernetes, and as
there all three are replaced at once by one rename.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devstack.ports import LOOPBACK
from devstack.secret_files import write_secret
from servicekit.certificates import Identity
from servicekit.transport import GATEWAY, OPERATOR

TRUST_DOMAIN: Final = "parley"
DOOR: Final = "door"
"""The holder of the certificate that Envoy shows to clients."""
DOOR_NAMES: Final = ("localhost", LOOPBACK, "::1")
CERTIFICATE, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"

_AUTHORITY_LIFETIME: Final = timedelta(days=3650)
_CERTIFICATE_LIFETIME: Final = timedelta(days=365)
_CURRENT: Final = "..data"


class Authority:
    """A certificate authority, with its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls) -> Authority:
        """Return a new authority, which has signed itself."""
        # Another name for each: a client that has several tries those of the issuer's name.
        key, name = _new_key(), _name(f"Parley on this machine {uuid.uuid4().hex[:8]}")
        return cls(sign_authority(name, key, name, key), key)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Authority:
        """Return the authority of two PEM files."""
        private_key = serialization.load_pem_private_key(key.read_bytes(), password=None)
        assert isinstance(private_key, ec.EllipticCurvePrivateKey)
        return cls(x509.load_pem_x509_certificate(certificate.read_bytes()), private_key)

    @property
    def pem(self) -> bytes:
        """The certificate, in PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key, in PEM."""
        return _key_pem(self._key)

    def issue(self, names: Iterable[str], uri: str | None = None) -> tuple[bytes, bytes]:
        """Return a certificate for DNS names and addresses, and a URI if one is given, and its key, in PEM."""
        names = tuple(names)
        key = _new_key()
        alternatives = [_alternative_name(name) for name in names]
        if uri is not None:
            alternatives.append(x509.UniformResourceIdentifier(uri))
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(_name(names[0]), key, _CERTIFICATE_LIFETIME)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(purposes, critical=False)
            .add_extension(issuer_key, critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


class StackCertificates:
    """The certificates of a stack in `folder`, issued anew at every start. The authority is kept.

    `ca.crt` there is what clients trust; `ca.key` and the keys are readable by their owner alone.
    """

    def __init__(self, folder: Path, services: Iterable[str]) -> None:
        self._folder = folder
        self._holders = (*services, GATEWAY, OPERATOR)
        self.ca_file = folder / AUTHORITIES
        key = folder / "ca.key"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (self.ca_file.exists() and key.exists()):
            created = Authority.create()
            write_secret(key, created.key_pem)
            write_secret(self.ca_file, created.pem)
        self.authority = Authority.read(self.ca_file, key)
        self.issue(self.authority, self.authority.pem)

    def folder_of(self, holder: str) -> Path:
        """Return the folder of the certificate of a service, GATEWAY, OPERATOR or DOOR."""
        return self._folder / holder

    def environment(self, service: str) -> dict[str, str]:
        """Return the settings of a process of a service."""
        folder = self.folder_of(service)
        return {
            "PARLEY_TLS_CERTIFICATE_FILE": str(folder / CERTIFICATE),
            "PARLEY_TLS_KEY_FILE": str(folder / KEY),
            "PARLEY_TLS_CA_FILE": str(folder / AUTHORITIES),
            "PARLEY_TLS_TRUST_DOMAIN": TRUST_DOMAIN,
        }

    def issue(self, authority: Authority, trusted: bytes) -> None:
        """Give every holder a new certificate of `authority`. The PEM bundle `trusted` is what all of them accept."""
        for holder in self._holders:
            identity = Identity(TRUST_DOMAIN, holder)
            self._replace(holder, *authority.issue([identity.dns_name], identity.spiffe_id), trusted)
        self._replace(DOOR, *authority.issue(DOOR_NAMES), trusted)

    def _replace(self, holder: str, certificate: bytes, key: bytes, trusted: bytes) -> None:
        replace_together(self.folder_of(holder), {CERTIFICATE: certificate, KEY: key, AUTHORITIES: trusted})


def replace_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace files of a folder by one rename, as Kubernetes does: they are links into a folder that is replaced."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    contents = folder / f"..{uuid.uuid4().hex}"
    contents.mkdir(mode=0o700)
    for name, content in files.items():
        write_secret(contents / name, content)
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(Path(_CURRENT, name))
    current, draft = folder / _CURRENT, folder / f"{_CURRENT}.new"
    draft.unlink(missing_ok=True)
    draft.symlink_to(contents.name)
    replaced = current.resolve() if current.is_symlink() else None
    draft.replace(current)
    if replaced is not None:
        shutil.rmtree(replaced, ignore_errors=True)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def sign_authority(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, issuer: x509.Name, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """Return the certificate of an authority, signed by `issuer`, which may be itself."""
    return (
        _builder(name, key, _AUTHORITY_LIFETIME)
        .issuer_name(issuer)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def _builder(name: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: timedelta) -> x509.CertificateBuilder:
    # The clock of another machine may be behind.
    begin = datetime.now(UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

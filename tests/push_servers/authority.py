"""An authority of certificates for servers on this machine, made for one run of tests."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """An authority whose certificate is in `ca_file`, and the certificate of this machine that it signed.

    `server_file` has its key and then the certificate of servers and clients, which is for `localhost` and `addresses`.
    """

    def __init__(self, folder: Path, addresses: Sequence[str] = ()) -> None:
        self._addresses = addresses
        self.ca_file = folder / "authority.pem"
        self.server_file = folder / "server.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = _builder(name, name, key, key).add_extension(constraints, critical=True)
        certificate = builder.add_extension(_SIGNS_CERTIFICATES, critical=True).sign(key, hashes.SHA256())
        self.ca_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        self._write_server(name, key)

    def server_context(self, protocols: Sequence[str] = ("h2",)) -> ssl.SSLContext:
        """Return the TLS context of a server that offers `protocols` in ALPN."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.server_file)
        context.set_alpn_protocols(list(protocols))
        return context

    def _write_server(self, issuer: x509.Name, issuer_key: ec.EllipticCurvePrivateKey) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        addresses = [x509.IPAddress(ip_address(each)) for each in self._addresses]
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses])
        builder = _builder(name, issuer, key, issuer_key).add_extension(names, critical=False)
        certificate = builder.sign(issuer_key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.server_file.write_bytes(private + certificate.public_bytes(Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    # Python 3.13 verifies that certificates name both keys (RFC 5280, section 4.2.1).
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=12))
        .add_extension(own_id, critical=False)
        .add_extension(issuer_id, critical=False)
    )

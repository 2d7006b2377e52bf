"""The certificate of a process: read from files, verified, and read again when the files change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from prometheus_client import Counter, Gauge

from servicekit.clock import Clock
from servicekit.config import ConfigurationError, read_file
from servicekit.tasks import cancel_requested

# The files are read once two polls in a row found them the same, so never while they are written.
POLL_INTERVAL_S: Final = 1.0

_expiry = Gauge(
    "parley_tls_certificate_expiry_timestamp_seconds",
    "When the certificate in use expires, in seconds since 1970",
    ["identity"],
)
_reloads = Counter("parley_tls_certificate_reloads", "Changes of the certificate files, by outcome", ["outcome"])

log = structlog.get_logger("tls")

Fingerprint = tuple[tuple[int, int, int, int], ...]
"""Device, inode, modification time and size of each file: another one if a file was written or replaced."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The name of a service in certificates: `spiffe_id` says who calls, `dns_name` whom a client has reached."""

    trust_domain: str
    service: str

    @property
    def spiffe_id(self) -> str:
        """The SPIFFE ID, the only URI among the subject alternative names of the certificate."""
        return f"spiffe://{self.trust_domain}/{self.service}"

    @property
    def dns_name(self) -> str:
        """A DNS name among the subject alternative names; clients expect it, at whichever address a server listens."""
        return f"{self.service}.{self.trust_domain}"


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The paths of three PEM files: a certificate and its intermediates, its key, and the accepted authorities."""

    certificate: Path
    key: Path
    authorities: Path

    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the files. Raise OSError if one is missing."""
        # A path may be a symbolic link: Kubernetes replaces the folder behind it.
        found = [path.stat() for path in (self.certificate, self.key, self.authorities)]
        return tuple((each.st_dev, each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The contents of the files, in PEM; `expires_at` is in seconds since 1970."""

    expires_at: float
    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    authorities: bytes = field(repr=False)


def read_certificate(files: CertificateFiles, identity: Identity, now: float) -> Certificate:
    """Return the contents of the files. Raise ConfigurationError unless they can be used by `identity` at `now`.

    The key must be that of the certificate, the certificate must name the identity alone, be valid at `now` (seconds
    since 1970), and be signed by one of the authorities.
    """
    chain_pem, chain = read_file(files.certificate, _parse_certificates, "a certificate in PEM")
    authorities_pem, authorities = read_file(files.authorities, _parse_certificates, "certificates in PEM")
    key_pem, public_key = read_file(files.key, _parse_key, "a private key in PEM")
    leaf = chain[0]
    if leaf.public_key() != public_key:
        raise ConfigurationError(f"The key in {files.key} is not that of the certificate in {files.certificate}.")
    _check_names(leaf, identity, files.certificate)
    begins_at, expires_at = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if not begins_at <= now < expires_at:
        raise ConfigurationError(
            f"The certificate in {files.certificate} is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, which is not now."
        )
    if not _is_signed_by(chain, authorities):
        raise ConfigurationError(
            f"The certificate in {files.certificate} is not signed by an authority in {files.authorities}."
        )
    return Certificate(expires_at, chain_pem, key_pem, authorities_pem)


class CertificateWatcher:
    """The certificate of `identity` in `files`, which follows their changes within a few seconds.

    While the files cannot be used, the last good certificate stays. Raises ConfigurationError if there is none yet.
    """

    def __init__(self, files: CertificateFiles, identity: Identity, clock: Clock) -> None:
        self.identity = identity
        self._files = files
        self._clock = clock
        self._seen = self._used = self._fingerprint()
        self._refused: Fingerprint | None = None
        self._subscribers: list[Callable[[], None]] = []
        self.current = self._read()

    def subscribe(self, on_renewed: Callable[[], None]) -> None:
        """Call `on_renewed` after each change of `current`."""
        self._subscribers.append(on_renewed)

    async def run(self) -> None:
        """Follow the files until cancelled."""
        while not cancel_requested():
            await self._clock.sleep(POLL_INTERVAL_S)
            self.poll()

    def poll(self) -> None:
        """Check the files; reload them once two polls in a row saw the same change."""
        before, self._seen = self._seen, self._fingerprint()
        if self._seen == before and self._seen != self._used:
            self._renew(self._seen)

    def _renew(self, fingerprint: Fingerprint) -> None:
        try:
            current = self._read()
        except ConfigurationError as error:
            # They are read again at each poll: a certificate may become valid later.
            if self._refused != fingerprint:
                log.warning("certificate files unusable, the last ones stay in use", error=str(error))
                _reloads.labels("refused").inc()
            self._refused = fingerprint
            return
        self._used, self.current = fingerprint, current
        log.info("certificate renewed", expires_at=int(current.expires_at))
        _reloads.labels("used").inc()
        for on_renewed in self._subscribers:
            on_renewed()

    def _read(self) -> Certificate:
        certificate = read_certificate(self._files, self.identity, self._clock.now_ms() / 1000)
        _expiry.labels(self.identity.spiffe_id).set(certificate.expires_at)
        return certificate

    def _fingerprint(self) -> Fingerprint:
        """Return the fingerprint of the files, empty while one is missing."""
        try:
            return self._files.fingerprint()
        except OSError:
            return ()


def _parse_certificates(data: bytes) -> tuple[bytes, list[x509.Certificate]]:
    try:
        certificates = x509.load_pem_x509_certificates(data)
        for each in certificates:
            # Parsed at first use, and refused here.
            _ = each.public_key(), each.extensions
    except (
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        UnsupportedAlgorithm,
    ) as error:
        raise ValueError(str(error)) from None
    return data, certificates


def _parse_key(data: bytes) -> tuple[bytes, object]:
    try:
        return data, load_pem_private_key(data, password=None).public_key()
    except TypeError:
        raise ValueError("it is encrypted") from None
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None


def _check_names(certificate: x509.Certificate, identity: Identity, path: Path) -> None:
    """Raise ConfigurationError unless the certificate names `identity` and nobody else."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if uris != [identity.spiffe_id]:
        found = " and ".join(uris) or "none"
        raise ConfigurationError(
            f"The certificate in {path} must have one URI among its alternative names, {identity.spiffe_id}; it has "
            f"{found}."
        )
    if identity.dns_name not in names.get_values_for_type(x509.DNSName):
        raise ConfigurationError(
            f"The certificate in {path} must have {identity.dns_name} among its alternative names of type DNS."
        )


def _is_signed_by(chain: list[x509.Certificate], authorities: list[x509.Certificate]) -> bool:
    """Return True if one of the authorities has signed the leaf, or an intermediate certificate above it."""
    current, intermediates = chain[0], chain[1:]
    while not any(_has_signed(each, current) for each in authorities):
        issuer = next((each for each in intermediates if _has_signed(each, current)), None)
        if issuer is None:
            return False
        intermediates.remove(issuer)
        current = issuer
    return True


def _has_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True

"""The settings that services have in common; the settings class of a service inherits those that it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from servicekit.certificates import CertificateFiles
from servicekit.config import Address, Addresses, Settings
from servicekit.rate_limiter import RateLimit
from servicekit.telemetry import LogFormat


class TlsSettings(Settings):
    """The settings of mutual TLS between the processes of a deployment, which speak plain text without the files."""

    # The PEM file of the certificate of the service, and the intermediate ones above it; it may be replaced while the
    # process runs, as the two files below. Unset: plain text.
    tls_certificate_file: Path | None = None
    # The PEM file of the key of the certificate.
    tls_key_file: Path | None = None
    # The PEM file of the authorities whose certificates are accepted.
    tls_ca_file: Path | None = None
    # The certificate of a service <name> has the URI spiffe://<trust domain>/<name> and the DNS name <name>.<trust
    # domain> among its alternative names.
    tls_trust_domain: str = Field(default="parley", pattern=r"^[a-z0-9]([a-z0-9.-]{0,120}[a-z0-9])?$")

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        """Refuse a part of the files."""
        files = (self.tls_certificate_file, self.tls_key_file, self.tls_ca_file)
        if None in files and any(files):
            raise ValueError(
                "PARLEY_TLS_CERTIFICATE_FILE, PARLEY_TLS_KEY_FILE and PARLEY_TLS_CA_FILE belong together: set all of "
                "them, or none"
            )
        return self

    @property
    def certificate_files(self) -> CertificateFiles | None:
        """The files; None: plain text."""
        if self.tls_certificate_file is None or self.tls_key_file is None or self.tls_ca_file is None:
            return None
        return CertificateFiles(self.tls_certificate_file, self.tls_key_file, self.tls_ca_file)


class EtcdSettings(Settings):
    """The settings of a process that uses etcd."""

    # The address of etcd: one name with a port, which may resolve to all members, or several IPv4 addresses with ports,
    # separated by commas. With TLS only the name.
    etcd_endpoints: Addresses
    # The PEM file of the authorities that sign the certificate of etcd; unset: etcd does not use TLS.
    etcd_ca_file: Path | None = None
    # The PEM file of the certificate that etcd knows this process by; unset: it requires none.
    etcd_certificate_file: Path | None = None
    # The PEM file of the key of that certificate.
    etcd_key_file: Path | None = None
    # The user of etcd; unset: it has no users.
    etcd_user: str | None = None
    # The password of that user.
    etcd_password: SecretStr | None = None

    @model_validator(mode="after")
    def _check_etcd(self) -> Self:
        """Refuse settings of which one part is missing."""
        if (self.etcd_certificate_file is None) != (self.etcd_key_file is None):
            raise ValueError("PARLEY_ETCD_CERTIFICATE_FILE and PARLEY_ETCD_KEY_FILE must be set together")
        if self.etcd_certificate_file is not None and self.etcd_ca_file is None:
            raise ValueError("PARLEY_ETCD_CERTIFICATE_FILE needs PARLEY_ETCD_CA_FILE")
        if (self.etcd_user is None) != (self.etcd_password is None):
            raise ValueError("PARLEY_ETCD_USER and PARLEY_ETCD_PASSWORD must be set together")
        return self


class ServiceSettings(EtcdSettings, TlsSettings):
    """The settings of every service; each is read from the environment variable `PARLEY_` and its name in capitals."""

    # The address of the port for users' calls, which Envoy reaches.
    listen: Address
    # The address of the port for calls of other servers, which clients must not reach.
    internal_listen: Address
    # The address at which Prometheus scrapes metrics; unset: no metrics are served.
    metrics_listen: Address | None = None
    # A port in plain text that answers health checks (grpc.health.v1) and nothing else: kubelet speaks no TLS.
    health_listen: Address | None = None
    # The address at which Envoy and other servers reach `listen`; default: the same.
    advertise: Address | None = None
    # The address at which other servers reach `internal_listen`; default: the same.
    internal_advertise: Address | None = None
    # The name of this server among the servers of its service; default: the advertised address.
    server_id: str | None = None
    # The JWKS with the public keys that verify the tokens of users.
    jwks_file: Path
    # The issuer that a valid token names.
    token_issuer: str = "parley"  # noqa: S105  a name
    # The audience that a valid token names.
    token_audience: str = "parley"  # noqa: S105  a name
    # False if another issuer signs users in. Then JWKS, issuer and audience are those of that issuer, and each subject
    # of its tokens is a user.
    sign_in_here: bool = True
    # The file of the secret by which servers recognise each other; the same for all servers of a deployment. It may
    # have several, one a line: the first is sent, and all are accepted.
    service_credential_file: Path
    # A FileDescriptorSet with the public services of the deployment, which reflection lists; unset: this server's own.
    reflection_file: Path | None = None
    # The commit that the software was built from, which operators are told.
    commit: str = ""
    # The form of the log lines on stderr: json, or console for people.
    log_format: LogFormat = "json"
    # The lowest level that is logged: debug, info, warning or error.
    log_level: str = "info"
    # The OTLP endpoint for traces, http://host:4318; tracing is off if unset.
    otlp_endpoint: str | None = None
    # The sampling ratio of the traces that start here, 0 to 1; 0 disables tracing.
    trace_ratio: float = Field(default=0.01, ge=0, le=1)
    # Beyond that ratio: the messages a second whose traces clients have sampled, in each server; 0: none.
    trace_client_rate: float = Field(default=1.0, ge=0, le=1000)
    # Seconds of the drain: the server still serves calls, while its streams move to other servers.
    drain_seconds: float = Field(default=10.0, ge=0, le=3600)
    # Unary and server-streaming calls of a device per second, of all methods together.
    calls_per_second: int = Field(default=50, gt=0)
    # The burst of these calls.
    calls_burst: int = Field(default=200, gt=0)

    @property
    def call_limit(self) -> RateLimit:
        """Return the rate limit of the calls of a device."""
        return RateLimit(self.calls_per_second, self.calls_burst)


class MongoSettings(Settings):
    """The settings of a service that stores data in MongoDB."""

    # The connection string of the replica set; it may contain a password.
    mongo_uri: SecretStr
    # The database of the deployment, the same for all services.
    mongo_database: str = Field(default="parley", pattern=r"^[A-Za-z0-9_-]{1,38}$")


class RedisSettings(Settings):
    """The settings of a service that stores data in Redis."""

    # The URL of Redis, redis://host:port/database, which may contain a password; for a cluster with one or more nodes,
    # each as host:port, separated by commas.
    redis_url: SecretStr
    # True if the URL is that of a Redis Cluster.
    redis_cluster: bool = False
